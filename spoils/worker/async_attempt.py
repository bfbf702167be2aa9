"""The attempt of an `async def run`: a task of the event loop, whose session is used in threads."""

import asyncio
import concurrent.futures
import contextvars
import inspect
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from spoils.errors import SpoilsError
from spoils.job import Job
from spoils.job.hooks import await_with_hooks
from spoils.job.outcome import Interrupted, Verdict
from spoils.job.steps import ms_since
from spoils.queue.claim import Claim
from spoils.queue.steps import StepLog
from spoils.worker.attempt import Attempt
from spoils.worker.attempt_outcome import of_return
from spoils.worker.interruption import Interruption
from spoils.worker.worker_application import SESSION_WAIT_SECONDS

Result = TypeVar("Result")


class SessionInEventLoop(SpoilsError):
    """A statement would block the event loop: an async job uses `await queue.in_session(function)`, which calls
    function(session) in a thread, in place of queue.session."""


class JobEnded(SpoilsError):
    """queue.in_session was called after the end of its job."""


class AsyncAttempt(Attempt):
    """Made and used by the event loop, except where a method says otherwise.

    `places` bounds how many attempts hold a database connection. One that waits for its place holds no thread.
    """

    def __init__(
        self,
        claim: Claim,
        job: Job,
        *,
        engine: Engine,
        stopping: threading.Event,
        places: asyncio.Semaphore,
        step_log: StepLog | None = None,
    ) -> None:
        super().__init__(claim, job, engine=engine, stopping=stopping, step_log=step_log)
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[Verdict | BaseException] | None = None
        self._places = places
        self._has_place = False
        # Held while a thread uses the session, also if the job no longer waits for it.
        self._turn = asyncio.Lock()
        self._session_thread: int | None = None
        self._ended = False
        self._end: Interrupted | None = None

    async def call(self) -> Verdict | BaseException:
        """Perform the job; the verdict on what `run` returned, or what it raised."""
        # A task of its own, since user code may cancel the task that it runs in.
        self._task = self._loop.create_task(self._call())
        try:
            return await self._task
        except asyncio.CancelledError as exc:
            return exc
        finally:
            self._task = None
            self._ended = True

    async def _call(self) -> Verdict | BaseException:
        try:
            try:
                returned = await await_with_hooks(self.job, self)
            finally:
                self.end_if_forked()
            return of_return(self.job, returned, self.claim.retries)
        except BaseException as exc:  # noqa: BLE001 - user code; asyncio would end its loop for a SystemExit
            return exc

    async def conclude(self, function: Callable[[], Result], *, in_database: bool) -> Result:
        """Call `function`, which ends the attempt, once no thread uses the session; in a thread if it may block."""
        await self._turn.acquire()
        try:
            if not (in_database or self.opened):
                return function()
            if not self._has_place:
                await self._places.acquire()
                self._has_place = True
            return await self._in_thread(function)
        finally:
            self._turn.release()
            if self._has_place:
                self._places.release()

    @property
    def in_thread(self) -> bool:
        """Whether a thread uses the session now."""
        return self._session_thread is not None

    @property
    def connection(self) -> Connection:
        """The transaction of the job; only a thread of `in_session` or `conclude` gets it."""
        if threading.get_ident() != self._session_thread:
            raise SessionInEventLoop
        return super().connection

    async def in_session(self, function: Callable[[Session], Result]) -> Result:
        """Implements `Queue.in_session`."""
        await self._turn.acquire()
        try:
            if self._ended:
                raise JobEnded
            if self.interrupted_by is not None:
                raise asyncio.CancelledError
            await self._take_place()
            called = self._in_thread(partial(self._in_savepoint, function))
        except BaseException:
            self._turn.release()
            raise
        called.add_done_callback(self._call_ended)
        try:
            return await asyncio.shield(called)
        except Interrupted as exc:
            self._end_by(exc)

    async def step(self, name: str, function: Callable[[], Any], /) -> Any:
        """Implements `Queue.step`: calls the function in the event loop, and the database in threads."""
        self._check_name(name)
        if self._steps is None:
            self._steps = await in_thread(self.read_steps)
        if name in self._steps:
            return json.loads(self._steps[name])
        started = time.monotonic()
        value = function()
        if inspect.isawaitable(value):
            value = await value
        text = self._text(name, value)
        await in_thread(partial(self.write_step, name, text, ms_since(started)))
        return self._done(name, text)

    def checkpoint(self) -> None:
        """End here, by a CancelledError, which `asyncio.TaskGroup` and the like let through. In `in_session` too."""
        try:
            super().checkpoint()
        except Interrupted as exc:
            if threading.get_ident() == self._session_thread:
                raise
            self._end_by(exc)

    def interrupt(self, kind: type[Interrupted]) -> None:
        """Fail the session, and cancel the task of the job. Called from another thread."""
        super().interrupt(kind)
        self._loop.call_soon_threadsafe(self._cancel)

    def interrupt_code(self, kind: type[Interrupted], *, anywhere: bool) -> bool:
        """Raise `kind` in what a thread does for the job. Called from another thread."""
        return self._session_thread is None or super().interrupt_code(kind, anywhere=anywhere)

    def cause_of(self, error: BaseException) -> BaseException:
        """A CancelledError is the end of the attempt only where the queue has asked for it."""
        if (
            isinstance(error, asyncio.CancelledError)
            and self.interrupted_by is None
            and self._end is not None
        ):
            return self._end
        return super().cause_of(error)

    def _call_ended(self, called: "asyncio.Future[Any]") -> None:
        self._turn.release()
        if not called.cancelled():
            called.exception()  # or asyncio logs it if the job no longer waits, as after an interruption

    def _end_by(self, cause: Interrupted) -> NoReturn:
        self._end = cause
        if asyncio.current_task() is not self._task:
            self._cancel()  # a task that the job has started
        raise asyncio.CancelledError from cause

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _take_place(self) -> None:
        if self._has_place:
            return
        try:
            async with asyncio.timeout(SESSION_WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError as exc:
            raise PoolTimeout(
                f"Other async jobs have held all session connections for {SESSION_WAIT_SECONDS:.0f} s."
            ) from exc
        self._has_place = True

    def _in_savepoint(self, function: Callable[[Session], Result]) -> Result:
        session = self.session
        session.expire_on_commit = False  # or the job could not read the objects that it gets
        try:
            self.interruption = Interruption()
            result = self.interruption.call(function, session)
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()  # or Python warns that nobody awaited it
                raise TypeError(
                    "queue.in_session takes a plain function: nothing would await what this one returned."
                )
            session.commit()
        except BaseException:
            with suppress(SQLAlchemyError):  # the connection may be lost
                session.rollback()
            raise
        return result

    def _in_thread(self, function: Callable[[], Result]) -> "asyncio.Future[Result]":
        """Call `function` in a thread, which may use the session meanwhile."""

        def call() -> Result:
            self._session_thread = threading.get_ident()
            try:
                return function()
            finally:
                self._session_thread = None

        return in_thread(call)


def in_thread(function: Callable[[], Result]) -> "asyncio.Future[Result]":
    """Call `function` in a thread of its own."""
    # Not by an executor: Python would wait for its threads when it exits.
    done: concurrent.futures.Future[Result] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def call() -> None:
        try:
            result = context.run(function)
        except BaseException as exc:  # noqa: BLE001 - it is raised in the job
            done.set_exception(exc)
        else:
            done.set_result(result)

    threading.Thread(target=call, name="session of a job", daemon=True).start()
    return asyncio.wrap_future(done)
