"""Async job classes for the tests. In a module of their own: a worker with one of them has an event loop."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from spoils.job import Cancel, Done, Job, Outcome, Queue, RetryLater, Snooze
from tests.sample_jobs import SampleJob


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
