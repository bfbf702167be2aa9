"""Async job classes for the tests. In a module of their own: a worker with one of them has an event loop."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import ClassVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from spoils.job import Cancel, Done, Job, Outcome, Queue, RetryLater, Snooze
from tests.sample_jobs import SampleJob, claims, leave_effect


def writes(name: str, queue: Queue) -> Callable[[Session], None]:
    """What `in_session` calls to leave an effect."""

    def write(session: Session) -> None:
        session.execute(
            text("INSERT INTO effects (name, task_id) VALUES (:name, :id)"),
            {"name": name, "id": queue.task_id},
        )

    return write


class AsyncWaitJob(Job):
    """Waits, and logs how many of its class wait at that moment in its process."""

    seconds: float
    number: int = 0

    waiting: ClassVar[int] = 0

    async def run(self, queue: Queue) -> None:
        AsyncWaitJob.waiting += 1
        queue.log.warning("%d wait", AsyncWaitJob.waiting)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            AsyncWaitJob.waiting -= 1


class AsyncOutcomeJob(Job):
    """Ends as its payload says."""

    how: str
    max_retries = 3

    async def run(self, queue: Queue) -> Outcome | None:
        await asyncio.sleep(0)
        match self.how:
            case "done":
                return Done({"number": 7})
            case "snooze":
                return Snooze(90)
            case "cancel":
                return Cancel("there is no such thing")
            case "raise cancel":
                raise Cancel("there is no such thing")
            case "later":
                raise RetryLater(1234, "upstream is busy")
            case "raise":
                raise ValueError("boom")
            case "exit":
                raise SystemExit(3)
            case "cancelled by itself":
                task = asyncio.create_task(asyncio.sleep(60))
                asyncio.get_running_loop().call_soon(task.cancel)
                await task
            case "cancels its own task":
                task = asyncio.current_task()  # type: ignore[assignment]
                task.cancel()
            case "session":
                queue.session  # noqa: B018
            case "enqueue":
                queue.enqueue(SampleJob(number=7), priority=1)
            case "returns a value":
                return 7  # type: ignore[return-value]
        return None


class AsyncSleepJob(Job):
    """Signals that it has started, takes its time (`once` only when it is claimed first), and writes in its session.

    Where it is interrupted, it leaves another sign.
    """

    seconds: float
    name: str = "sleep"
    once: bool = False

    async def run(self, queue: Queue) -> None:
        await asyncio.to_thread(leave_effect, f"{self.name} started", queue)
        if not self.once or await asyncio.to_thread(claims, queue) == 1:
            try:
                await asyncio.sleep(self.seconds)
            except asyncio.CancelledError:
                await asyncio.to_thread(leave_effect, f"{self.name} interrupted", queue)
                raise
        await queue.in_session(writes(f"{self.name} ended", queue))


class AsyncTimeoutJob(Job):
    """Takes longer than its timeout; `swallows` its interruption once, or each time."""

    swallows: str = "never"
    timeout = 0.5
    number: int = 0

    async def run(self, queue: Queue) -> None:
        await queue.in_session(writes("timeout", queue))
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if self.swallows == "never":
                    raise


class AsyncCheckpointJob(Job):
    """Ends at its next checkpoint when the worker stops."""

    async def run(self, queue: Queue) -> None:
        await asyncio.to_thread(leave_effect, "checkpoint started", queue)
        while True:
            await asyncio.sleep(0.05)
            queue.checkpoint()


class AsyncBlockingJob(Job):
    """Blocks the event loop."""

    seconds: float

    async def run(self, queue: Queue) -> None:
        threading.Event().wait(self.seconds)


class AsyncExitJob(Job):
    """Starts a task that raises SystemExit, which asyncio lets end its loop."""

    async def run(self, queue: Queue) -> None:
        async def leave() -> None:
            raise SystemExit(3)

        await asyncio.wait([asyncio.create_task(leave())])


class AsyncStuckSessionJob(Job):
    """Its session's code does not end when it is interrupted."""

    timeout = 0.5

    async def run(self, queue: Queue) -> None:
        await queue.in_session(lambda _: time.sleep(600))


class AsyncForkingJob(Job):
    """Forks a process that returns or awaits, and writes how that ended."""

    then: str

    async def run(self, queue: Queue) -> None:
        child = os.fork()
        if not child:
            if self.then == "await":
                await asyncio.sleep(0)
                os._exit(5)
            return
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        await queue.in_session(writes(f"child {os.waitstatus_to_exitcode(status)}", queue))


class AsyncProgramJob(Job):
    """Runs a program."""

    async def run(self, queue: Queue) -> None:
        process = await asyncio.create_subprocess_exec("true")
        await queue.in_session(writes(f"program {await process.wait()}", queue))
