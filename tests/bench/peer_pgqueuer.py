"""Drains no-op jobs with PgQueuer, at the batch size at which it was fastest; prints jobs a second."""

import asyncio
import multiprocessing
import sys
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BATCH = 500


class Progress(NamedTuple):
    """What the processes report, each at its place: how many jobs, and when the first and the last one began."""

    done: Any
    first: Any
    last: Any


def main(url: str, number: int, processes: int) -> float:
    """Fill the queue, and let the processes drain it: from the first job's start to the last one's."""
    asyncio.run(_fill(url, number))
    spawning = multiprocessing.get_context("spawn")
    # Each process has its own place in these, so none waits for another.
    progress = Progress(*(spawning.Array(kind, processes, lock=False) for kind in ("q", "d", "d")))
    workers = [
        spawning.Process(target=_work, args=(url, number, place, progress)) for place in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(280)
        assert worker.exitcode == 0, worker
    assert sum(progress.done) == number
    return number / (max(progress.last) - min(moment for moment in progress.first if moment))


async def _fill(url: str, number: int) -> None:
    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    for start in range(0, number, 10_000):
        count = min(10_000, number - start)
        await queries.enqueue(["noop"] * count, [b"{}"] * count, [0] * count)
    await connection.close()


def _work(url: str, number: int, place: int, progress: Progress) -> None:
    async def run() -> None:
        queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))

        @queue.entrypoint("noop")
        async def noop(job: Job) -> None:
            progress.last[place] = moment = time.monotonic()
            progress.first[place] = progress.first[place] or moment
            progress.done[place] += 1

        async def stop_at_the_end() -> None:
            while sum(progress.done) < number:
                await asyncio.sleep(0.05)
            queue.shutdown.set()

        stopping = asyncio.create_task(stop_at_the_end())
        await queue.run(dequeue_timeout=timedelta(seconds=1), batch_size=BATCH)
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await stopping

    asyncio.run(run())


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
