"""Job classes for the tests: each does one thing that a job may do."""

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from psycopg2 import OperationalError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from spoils.errors import SpoilsError
from spoils.job import Cancel, Concurrency, Done, Job, Outcome, Queue, RetryLater, Snooze, Unique
from spoils.models import db

EFFECTS = "CREATE TABLE IF NOT EXISTS effects (name text NOT NULL, task_id uuid NOT NULL, at timestamptz DEFAULT now())"


class SampleJob(Job):
    """Finishes at once."""

    number: int = 0

    def run(self, queue: Queue) -> None:
        return None


class UniqueSampleJob(Job):
    """Finishes at once, and only one of a number may wait or run."""

    number: int = 0
    uniq = True

    def run(self, queue: Queue) -> None:
        return None


class DebouncedSampleJob(Job):
    """Finishes at once, and only one of a number may wait."""

    number: int = 0
    turn: int = 0
    uniq = Unique("number", while_="waiting")

    def run(self, queue: Queue) -> None:
        return None


class WindowSampleJob(Job):
    """Finishes at once, and only one of a number may wait, or be enqueued within 500 s."""

    number: int = 0
    turn: int = 0
    uniq = Unique("number", within=500, while_="waiting")

    def run(self, queue: Queue) -> None:
        return None


class LimitedSampleJob(Job):
    """Two run at a time."""

    limits = (Concurrency(2),)

    def run(self, queue: Queue) -> None:
        return None


class ResultJob(Job):
    """Returns its value as the result, after a write through the session if `transactional`; or raises it."""

    value: Any = None
    transactional: bool = False
    raises: bool = False

    def run(self, queue: Queue) -> Outcome:
        if self.transactional:
            queue.session.execute(text("INSERT INTO effects VALUES ('result', :id)"), {"id": queue.task_id})
        if self.raises:
            raise Done(self.value)
        return Done(self.value)


class AddingJob(Job):
    """Adds its successor to its own batch, that many times."""

    times: int
    seconds: float = 0.0

    def run(self, queue: Queue) -> None:
        time.sleep(self.seconds)
        if self.times:
            queue.add_to_batch(AddingJob(times=self.times - 1, seconds=self.seconds))


class EffectJob(Job):
    """Writes a row through the session, and may then do something else."""

    name: str
    then: str = "finish"

    def run(self, queue: Queue) -> Outcome | None:
        queue.session.execute(
            text("INSERT INTO effects (name, task_id) VALUES (:name, :id)"),
            {"name": self.name, "id": queue.task_id},
        )
        match self.then:
            case "raise":
                raise ValueError("after the effect")
            case "commit and raise":
                db.session.commit()
                raise ValueError("after the commit")
            case "rollback":
                db.session.rollback()
            case "snooze":
                return Snooze(60)
            case "enqueue":
                queue.enqueue(SampleJob(number=7), priority=1)
            case "enqueue and raise":
                queue.enqueue(SampleJob(number=8))
                raise ValueError("after the note")
            case "deallocate":
                queue.session.execute(text("DEALLOCATE ALL"))
            case "abort":
                try:
                    queue.session.execute(text("SELECT 1 / 0"))
                except DBAPIError:
                    return None
        return None


class RaisingJob(Job):
    """Raises what its payload says."""

    what: str = "ValueError"
    max_retries = 3

    def backoff(self, attempt: int) -> float:
        return 60 * 2**attempt

    def run(self, queue: Queue) -> Outcome | None:
        match self.what:
            case "frozen":
                raise ValueError(f"{gc.get_freeze_count()} objects are frozen.")
            case "exit":
                raise SystemExit(3)
            case "interrupt":
                raise KeyboardInterrupt
            case "recursion":
                return self.run(queue)
            case "later":
                raise RetryLater(1234, "upstream is busy")
            case "snooze":
                return Snooze(90)
            case "cancel":
                return Cancel("there is no such thing")
            case "nul":
                raise ValueError("a\0b\ud800c")
            case "unprintable":
                raise Unprintable
            case _:
                raise ValueError(f"boom {self.what}")


class Unprintable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class BadBackoffJob(Job):
    """Has a backoff that is broken in the way that its payload says."""

    how: str

    def backoff(self, attempt: int) -> float:
        match self.how:
            case "raise":
                raise ZeroDivisionError
            case "nan":
                return float("nan")
            case "negative":
                return -1
            case _:
                return 1e308

    def run(self, queue: Queue) -> None:
        raise ValueError("boom")


class SleepJob(Job):
    """Signals that it has started, then takes its time; `once` only the first time that it is claimed."""

    seconds: float
    name: str = "sleep"
    once: bool = False

    def run(self, queue: Queue) -> None:
        leave_effect(f"{self.name} started", queue)
        if not self.once or claims(queue) == 1:
            time.sleep(self.seconds)
        leave_effect(f"{self.name} ended", queue)


class GateJob(Job):
    """Signals that it has started, and ends once somebody opens its gate: a row of that name in the effects."""

    def run(self, queue: Queue) -> None:
        leave_effect("gate started", queue)
        while not _has_effect("open"):
            time.sleep(0.05)


class HoldingJob(Job):
    """Writes through the session, signals that it has started, and holds its transaction open, `once` or each time."""

    seconds: float
    name: str = "holding"
    once: bool = False

    def run(self, queue: Queue) -> None:
        queue.session.execute(
            text("INSERT INTO effects (name, task_id) VALUES (:name, :id)"),
            {"name": f"{self.name} effect", "id": queue.task_id},
        )
        leave_effect(f"{self.name} started", queue)
        if not self.once or claims(queue) == 1:
            time.sleep(self.seconds)


class KilledStepsJob(Job):
    """Does three steps, and kills its process after the first and the second one."""

    def run(self, queue: Queue) -> Done:
        for number in range(3):
            queue.step(f"step {number}", lambda number=number: leave_effect(f"step {number}", queue))
            if claims(queue) == number + 1 < 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return Done(claims(queue))


class ForkingJob(Job):
    """Opens its session, forks a process that does what the payload says, and writes how that ended."""

    then: str

    def run(self, queue: Queue) -> None:
        session = queue.session
        driver = session.connection().connection.driver_connection
        reading, writing = os.pipe()
        if not (child := os.fork()):
            os.write(writing, self._in_child(queue, session, driver).encode())
            return
        os.close(writing)
        leave_effect(f"child {child}", queue)
        said = ""
        if self.then == "sleep until SIGTERM":
            os.kill(child, signal.SIGTERM)
        else:
            said = os.read(reading, 1000).decode()
        _, status = os.waitpid(child, 0)
        session.execute(
            text("INSERT INTO effects (name, task_id) VALUES (:name, :id)"),
            {"name": f"{os.waitstatus_to_exitcode(status)} {said}", "id": queue.task_id},
        )

    def _in_child(self, queue: Queue, session: Session, driver: Any) -> str:
        match self.then:
            case "exit":
                sys.exit(3)
            case "raise":
                raise ValueError("in the child")
            case "use its session":
                return _refused(lambda: queue.session)
            case "use a session that it had":
                return _refused(lambda: session.execute(text("SELECT 1")))
            case "connect":
                with db.engine.connect() as connection:
                    return str(connection.scalar(text("SELECT 'its own'")))
            case "use the connection beside sockets of its own":
                ends = [end for _ in range(20) for end in socket.socketpair()]
                try:
                    driver.cursor().execute("SELECT 1")
                except OperationalError:
                    return f"refused, {len(select.select(ends, [], [], 0)[0])} written to"
                return "not refused"
            case "return":
                return "done"
            case _:
                signal.pause()
                return ""


def _refused(act: Callable[[], object]) -> str:
    try:
        act()
    except SpoilsError as exc:
        return str(exc)
    return "not refused"


class StoppableJob(Job):
    """Runs until it is asked to stop, and then cancels itself."""

    def run(self, queue: Queue) -> Outcome | None:
        leave_effect("stoppable started", queue)
        for _ in range(600):
            if queue.cancelled:
                return Cancel("asked to stop")
            time.sleep(0.05)
        return None


class EverySecondJob(Job):
    """Comes every second."""

    cron = "* * * * * *"

    def run(self, queue: Queue) -> None:
        return None


def claims(queue: Queue) -> int:
    """How often the task of this attempt has been claimed."""
    with db.engine.connect() as connection:
        return connection.execute(
            text("SELECT attempts FROM fang_tasks WHERE id = :id"), {"id": queue.task_id}
        ).scalar_one()


def _has_effect(name: str) -> bool:
    with db.engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM effects WHERE name = :name"), {"name": name})
        return bool(found.scalar_one())


def leave_effect(name: str, queue: Queue) -> None:
    with db.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO effects (name, task_id) VALUES (:name, :id)"),
            {"name": name, "id": queue.task_id},
        )


class SlowLoopJob(Job):
    """Runs Python code for too long."""

    timeout = 0.5
    max_retries = 3

    def run(self, queue: Queue) -> None:
        leave_effect("slow loop started", queue)
        while True:
            time.sleep(0.01)


class SlowQueryJob(Job):
    """Waits for its query for too long."""

    timeout = 0.5

    def run(self, queue: Queue) -> None:
        queue.session.execute(text("SELECT pg_sleep(60)"))


class StubbornJob(Job):
    """Does not end when it is interrupted."""

    timeout = 0.5
    number: int = 0

    def run(self, queue: Queue) -> None:
        queue.session.execute(
            text("INSERT INTO effects (name, task_id) VALUES ('stubborn', :id)"), {"id": queue.task_id}
        )
        while True:
            try:
                time.sleep(60)
            except BaseException:  # noqa: BLE001 - that is what it is for
                continue


class CheckpointJob(Job):
    """Ends at its next checkpoint when the worker stops."""

    def run(self, queue: Queue) -> None:
        leave_effect("checkpoint started", queue)
        while True:
            time.sleep(0.05)
            queue.checkpoint()


class DeafJob(Job):
    """Never asks whether it was cancelled."""

    def run(self, queue: Queue) -> None:
        leave_effect("deaf started", queue)
        while True:
            time.sleep(0.05)


class BackendKillerJob(Job):
    """Ends its own database connection the first time, as a failover would."""

    def run(self, queue: Queue) -> None:
        leave_effect("killer started", queue)
        with db.engine.connect() as connection:
            runs = connection.scalar(
                text("SELECT count(*) FROM effects WHERE name = 'killer started' AND task_id = :id"),
                {"id": queue.task_id},
            )
        if runs == 1:
            queue.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
