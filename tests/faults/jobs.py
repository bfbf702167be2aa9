"""Job classes that the fault suite performs."""

import ctypes
import logging
import os
import resource
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from pydantic import model_validator
from sqlalchemy import text

from spoils.food.models import Product
from spoils.job import Job, Queue
from spoils.models import db


class WorkJob(Job):
    """Sleeps, with `slow_crashes` only until that many deaths; if transactional it writes one effect."""

    number: int
    seconds: float = 0.0
    transactional: bool = False
    slow_crashes: int | None = None

    def run(self, queue: Queue) -> None:
        if self.transactional:
            queue.session.execute(
                text("INSERT INTO effects (name, task_id) VALUES ('work', :id)"), {"id": queue.task_id}
            )
        if self.slow_crashes is None or crashes(queue) < self.slow_crashes:
            time.sleep(self.seconds)


def crashes(queue: Queue) -> int:
    """How many deaths of workers the task of this attempt has met."""
    with db.engine.connect() as connection:
        statement = text("SELECT crashes FROM fang_tasks WHERE id = :id")
        return connection.execute(statement, {"id": queue.task_id}).scalar_one()


class ChainJob(Job):
    """Writes an effect and enqueues one job: both, or neither."""

    number: int

    def run(self, queue: Queue) -> None:
        queue.session.execute(
            text("INSERT INTO effects (name, task_id) VALUES ('work', :id)"), {"id": queue.task_id}
        )
        queue.enqueue(LinkJob(number=self.number))


class LinkJob(Job):
    """What a chain enqueues."""

    number: int

    def run(self, queue: Queue) -> None:
        return None


class SelfTermJob(Job):
    """Sends SIGTERM to its own thread, as the kernel may choose any thread of a process to take one."""

    def run(self, queue: Queue) -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)


class GilJob(Job):
    """Holds the interpreter's lock, so that no other thread of its process runs."""

    seconds: int

    def run(self, queue: Queue) -> None:
        ctypes.PyDLL(None).sleep(self.seconds)


class PoisonJob(Job):
    """Ends its process."""

    how: str

    def run(self, queue: Queue) -> None:
        match self.how:
            case "exit":
                os._exit(7)
            case "kill":
                # As the kernel does to who takes the machine's last memory.
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                ctypes.string_at(0)


class GreedyJob(Job):
    """Takes memory until its process may have no more."""

    max_retries = 0

    def run(self, queue: Queue) -> None:
        limit = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + 200 * 2**20, limit[1]))
        try:
            taken = []
            while True:
                taken.append(bytearray(8 * 2**20))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limit)


class SqlStateJob(Job):
    """Its session meets an error of that code in the first attempts."""

    code: str
    attempts: int = 1000
    max_retries = 3

    def run(self, queue: Queue) -> None:
        queue.session.execute(
            text("INSERT INTO effects (name, task_id) VALUES ('work', :id)"), {"id": queue.task_id}
        )
        # A sequence keeps its count when the transaction that asked it fails.
        times = queue.session.scalar(
            text("SELECT nextval(:name)"), {"name": f"session_faults_{self.code.lower()}"}
        )
        if times <= self.attempts:
            queue.session.execute(text("SELECT raise_state(:code)"), {"code": self.code})


class DeadlockJob(Job):
    """Locks one row, and another once its counterpart has locked that one; what comes back later meets nobody."""

    first: int
    second: int

    _met: ClassVar = threading.Barrier(2)

    def run(self, queue: Queue) -> None:
        queue.session.execute(
            text("INSERT INTO effects (name, task_id) VALUES ('work', :id)"), {"id": queue.task_id}
        )
        lock = text("SELECT FROM accounts WHERE id = :id FOR UPDATE")
        queue.session.execute(lock, {"id": self.first})
        with suppress(threading.BrokenBarrierError):
            self._met.wait(30)
            self._met.abort()
        queue.session.execute(lock, {"id": self.second})


class PickyJob(Job):
    """Its own check of the payload raises what pydantic does not turn into a sentence."""

    how: str = "fine"

    @model_validator(mode="after")
    def _check(self) -> "PickyJob":
        if self.how == "raise":
            raise KeyError("the check itself is broken")
        if self.how == "exit":
            raise SystemExit(3)
        return self

    def run(self, queue: Queue) -> None:
        return None


class UniqueTroubleJob(Job):
    """Only one of a number may wait or run; it takes its time, and then fails."""

    number: int
    milliseconds: int
    uniq = True

    def run(self, queue: Queue) -> None:
        time.sleep(self.milliseconds / 1000)
        raise ValueError("trouble")


class ChattyJob(Job):
    """Computes and logs without a rest, and is tried again at once whenever it has timed out."""

    number: int
    timeout = 0.05
    max_retries = 10_000

    def backoff(self, attempt: int) -> float:
        return 0

    def run(self, queue: Queue) -> None:
        _compute_and_log(queue)


class EndlessJob(Job):
    """The same without a timeout: an operator has to cancel it."""

    number: int

    def run(self, queue: Queue) -> None:
        _compute_and_log(queue)


def _compute_and_log(queue: Queue) -> None:
    logger = logging.getLogger("somebody's")
    number = 0
    while True:
        number += sum(range(50))
        queue.log.info("Working on %d", number)
        logger.info("Still at %d", number)


class LastMomentJob(Job):
    """Its writes wait for somebody else's lock, when its session is flushed or at the commit."""

    barcode: str
    at: str
    timeout = 1.0
    max_retries = 0

    def run(self, queue: Queue) -> None:
        _write_in_the_last_moment(queue, self.barcode, self.at)


class PatientLastMomentJob(Job):
    """The same without a timeout. It waits for the operator's request: its commit locks the task's row."""

    barcode: str
    at: str

    def run(self, queue: Queue) -> None:
        _write_in_the_last_moment(queue, self.barcode, self.at)
        requested = text("SELECT cancel_requested_at IS NOT NULL FROM fang_tasks WHERE id = :id")
        with queue.session.no_autoflush:
            while not queue.session.scalar(requested, {"id": queue.task_id}):
                queue.session.execute(text("SELECT pg_sleep(0.01)"))


def _write_in_the_last_moment(queue: Queue, barcode: str, at: str) -> None:
    if at == "flush":
        queue.session.add(Product(barcode=barcode, document={}))
    else:
        queue.session.execute(text("INSERT INTO deferred VALUES (1)"))


class SleepingStatementJob(Job):
    """Sleeps in the database, longer than it may."""

    timeout = 1.0
    max_retries = 0

    def run(self, queue: Queue) -> None:
        queue.session.execute(text("SELECT pg_sleep(120)"))


class StuckLogJob(Job):
    """Leaves the log in such a state that no thread that logs comes back."""

    def run(self, queue: Queue) -> None:
        lock = threading.Lock()
        lock.acquire()
        for handler in logging.getLogger().handlers:
            handler.addFilter(lambda _: lock.acquire())
