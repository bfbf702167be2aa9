"""Drains no-op jobs with Procrastinate, five at once; prints jobs a second."""

import asyncio
import sys
import time

from procrastinate import App, PsycopgConnector


async def main(url: str, number: int) -> float:
    app = App(connector=PsycopgConnector(conninfo=url))
    done, first = 0, 0.0

    @app.task(name="noop")
    async def noop(number: int) -> None:
        nonlocal done, first
        first = first or time.monotonic()
        done += 1

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for start in range(0, number, 1000):
            await noop.batch_defer_async(
                *[{"number": one} for one in range(start, min(start + 1000, number))]
            )
        await app.run_worker_async(concurrency=5, wait=False, install_signal_handlers=False)
        assert done == number, done
    return number / (time.monotonic() - first)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], int(sys.argv[2]))))
