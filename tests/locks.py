"""Races step by step: one connection holds a lock, another waits for it, and the test sees that it does."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine, text

from spoils.db.engine import transaction
from tests.support import eventually

Result = TypeVar("Result")


@contextmanager
def held(engine: Engine) -> Iterator[Connection]:
    """A transaction that keeps its locks until its `commit()` or the end of the block."""
    with engine.connect() as connection:
        yield connection.execution_options(isolation_level="READ COMMITTED")


@contextmanager
def meanwhile(engine: Engine, act: Callable[[Connection], Result]) -> Iterator[Future[Result]]:
    """Do `act` in a transaction on another thread; the block begins when it waits for a lock, and must free it."""
    pid: Future[int] = Future()

    def run() -> Result:
        with transaction(engine) as connection:
            pid.set_result(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            return act(connection)

    with ThreadPoolExecutor(1) as thread, engine.connect() as observer:
        acting = thread.submit(run)
        backend = pid.result(60)

        def waits() -> None:
            blocking = observer.execute(text("SELECT pg_blocking_pids(:pid)"), {"pid": backend}).scalar_one()
            assert blocking, f"{acting} does not wait"

        eventually(waits)
        yield acting


def at_once(number: int, act: Callable[[int], Result]) -> list[Result]:
    """Call `act` with each number below `number`, all at one moment, and return what each returned."""
    gate = threading.Barrier(number)

    def run(one: int) -> Result:
        gate.wait(60)
        return act(one)

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(run, range(number)))
