"""Drains no-op jobs with PgQueuer, at the batch size at which one process of it was fastest; prints jobs a second."""

import asyncio
import sys
import time
from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BATCH = 500


async def main(url: str, number: int) -> float:
    connection = await asyncpg.connect(url)
    driver = AsyncpgDriver(connection)
    queries = Queries(driver)
    await queries.install()
    for start in range(0, number, 10_000):
        count = min(10_000, number - start)
        await queries.enqueue(["noop"] * count, [b"{}"] * count, [0] * count)
    queue = PgQueuer(driver)
    done, first = 0, 0.0

    @queue.entrypoint("noop")
    async def noop(job: Job) -> None:
        nonlocal done, first
        first = first or time.monotonic()
        done += 1
        if done == number:
            queue.shutdown.set()

    await asyncio.wait_for(queue.run(dequeue_timeout=timedelta(seconds=1), batch_size=BATCH), 280)
    return number / (time.monotonic() - first)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], int(sys.argv[2]))))
