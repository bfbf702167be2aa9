"""Performs one claim: runs its job and settles the outcome."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from uuid import UUID

from flask import Flask, g
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from spoils.db.trouble import Trouble, logged_as_outage
from spoils.job import Job
from spoils.job.hooks import run_with_hooks
from spoils.job.outcome import Ending, GivenBack, Interrupted, Verdict
from spoils.job.registry import Registry
from spoils.models import db
from spoils.models.base import running_unit
from spoils.queue.batches import put_batches
from spoils.queue.claim import Claim
from spoils.queue.enqueue import Enqueued, enqueue, log_enqueued
from spoils.queue.finish import ClaimLost, finish_one, finishing
from spoils.queue.limits import put_under_limits
from spoils.queue.outputs import OutputOf
from spoils.queue.settlement import Settlement, Token
from spoils.queue.steps import StepLog
from spoils.queue.tasks import has_started, uncounted_failures
from spoils.worker import attempt_outcome as outcomes
from spoils.worker.async_attempt import AsyncAttempt, in_thread
from spoils.worker.attempt import Attempt
from spoils.worker.attempt_log import log_ending, log_fields
from spoils.worker.job_reader import JobReader
from spoils.worker.transient import is_transient

log = logging.getLogger("spoils.worker")


class Performer:
    """Produces an outcome for every claim. `hand_over` takes the settlements of jobs that opened no session."""

    def __init__(
        self,
        *,
        app: Flask,
        engine: Engine,
        registry: Registry,
        worker_id: UUID,
        stopping: threading.Event,
        hand_over: Callable[[Settlement], None],
        drop: Callable[[Token], None],
        on_deadline: Callable[[], None] = lambda: None,
        async_sessions: int = 1,
        step_engine: Engine | None = None,
        others_differ: Callable[[], bool] = lambda: False,
    ) -> None:
        """Up to `async_sessions` async jobs at a time hold a connection of the engine. `step_engine` writes steps, by
        default `engine`. `others_differ`: whether a live worker has other job classes, or other fields of one.
        """
        self._app = app
        self._engine = engine
        self._reader = JobReader(
            engine=engine, registry=registry, worker_id=worker_id, others_differ=others_differ
        )
        self._worker_id = worker_id
        self._stopping = stopping
        self._hand_over = hand_over
        self._drop = drop
        self._on_deadline = on_deadline
        self._places = asyncio.Semaphore(async_sessions)
        self._step_log: StepLog | None = StepLog(step_engine or engine, worker_id)
        self._running: dict[Token, Attempt] = {}
        self._ended_outputs: SimpleQueue[OutputOf] = SimpleQueue()
        self._misfits = Trouble("misfits")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The application context of a pool thread, shared by all its jobs.

        Pushing one for each job costs as much as a job that does nothing. What a job leaves in it is removed.
        """
        with self._app.app_context():
            yield

    def perform(self, claim: Claim) -> None:
        """Perform `claim` up to its settlement, whatever is raised. The thread is `at_work`."""
        try:
            job, misfit = self._reader.read(claim, asynchronous=False)
            if misfit is not None:
                job = self._settle_misfit(claim, job, misfit)
            if job is not None and _is_late(claim, job):
                job = self._settle_expired(claim, job)
            if job is not None:
                attempt = Attempt(
                    claim, job, engine=self._engine, stopping=self._stopping, step_log=self._step_log
                )
                self._register(attempt)
                try:
                    self._run_and_settle(attempt)
                finally:
                    self._running.pop(claim.token, None)
        except BaseException as exc:  # noqa: BLE001 - it is logged
            self._broken_down(claim, exc)

    async def perform_async(self, claim: Claim) -> None:
        """Perform `claim` of an async job likewise, in an application context of its own."""
        try:
            job, misfit = self._reader.read(claim, asynchronous=True)
            if misfit is not None:
                job = await in_thread(partial(self._settle_misfit, claim, job, misfit))
            if job is not None and _is_late(claim, job):
                job = await in_thread(partial(self._settle_expired, claim, job))
            if job is not None:
                with self._app.app_context():
                    attempt = AsyncAttempt(
                        claim,
                        job,
                        engine=self._engine,
                        stopping=self._stopping,
                        places=self._places,
                        step_log=self._step_log,
                    )
                    self._register(attempt)
                    try:
                        await self._await_and_settle(attempt)
                    finally:
                        self._running.pop(claim.token, None)
        except BaseException as exc:  # noqa: BLE001 - it is logged
            self._broken_down(claim, exc)

    def _register(self, attempt: Attempt) -> None:
        self._running[attempt.claim.token] = attempt
        if attempt.job.timeout is not None:
            self._on_deadline()

    def _broken_down(self, claim: Claim, error: BaseException) -> None:
        log.error("Internal error while running job", exc_info=error, extra=log_fields("perform", claim))
        self._settle_plainly(claim, outcomes.of_breakdown(error), 0)

    def ask_to_stop(self, task_ids: frozenset[UUID]) -> None:
        """Ask the jobs of these tasks to stop, as an operator wants."""
        for attempt in self.running():
            if attempt.task_id in task_ids:
                attempt.ask_to_stop()
                self._on_deadline()

    def running(self) -> list[Attempt]:
        """The attempts that run now."""
        return list(self._running.values())

    def take_outputs(self, most: int) -> list[OutputOf]:
        """Up to `most` outputs that have changed since they were taken: those of ended attempts first, then those that
        were taken longest ago.
        """
        # First: an attempt that ends meanwhile is among the ended ones of the next time, as the last word.
        running = [attempt for attempt in self.running() if attempt.output and attempt.output.changed]
        taken: list[OutputOf] = []
        with suppress(Empty):
            while len(taken) < most:
                taken.append(self._ended_outputs.get_nowait())
        ended = {id(one.output) for one in taken}
        outputs = [(attempt, attempt.output) for attempt in running if attempt.output]
        for attempt, output in sorted(outputs, key=lambda pair: pair[1].written_at)[: most - len(taken)]:
            if id(output) not in ended:
                output.changed = False  # first: what is reported from here on goes with the next heartbeat
                output.written_at = time.monotonic()
                taken.append(OutputOf(attempt.task_id, attempt.claim.attempts, output))
        return taken

    def _end_output(self, attempt: Attempt, *, keep: bool) -> None:
        if attempt.output is not None:
            self._ended_outputs.put(OutputOf(attempt.task_id, attempt.claim.attempts, attempt.output, keep))

    @property
    def in_job(self) -> int:
        """How many threads run a job's own code, or commit what it wrote."""
        return sum(attempt.in_job for attempt in self.running())

    def give_up(self, attempt: Attempt, error: Interrupted) -> None:
        """Settle an attempt whose job ignores its interruption; what its thread returns later is ignored."""
        attempt.given_up = True
        self._end_output(attempt, keep=True)
        attempt.cut()
        self._running.pop(attempt.claim.token, None)
        job = attempt.job
        ran_ms = attempt.ran_ms
        verdict = outcomes.of_failure(job, error, attempt.claim.retries)
        self._settle(attempt.claim, verdict, ran_ms)  # before it is logged: logging may hang
        log_ending(attempt.claim, verdict, ran_ms, type(job).__name__)

    def interrupt(self, token: Token) -> None:
        """Interrupt the job and fail its session, because its task is being released."""
        if attempt := self._running.get(token):
            attempt.interrupt(GivenBack)

    def _settle_misfit(self, claim: Claim, job: Job | None, misfit: Verdict) -> Job | None:
        """Release the row where it has to wait for a limit, or leave it to a live worker of another release that may
        read it. If there is none, returns the job, or fails the row that no job could be made from. Asks the database.
        """
        if misfit is outcomes.BEFORE_ITS_LIMITS:
            with self._engine.begin() as connection:
                put_under_limits(connection, claim.token, worker_id=self._worker_id)
            self._settle(claim, misfit, 0)
            return None
        if self._reader.may_fit_elsewhere(claim):
            self._leave_to_others(claim, misfit)
            return None
        if job is None:
            self._settle_plainly(claim, misfit, 0)
        return job

    def _settle_expired(self, claim: Claim, job: Job) -> Job | None:
        """Fail a task that was due too long ago, unless an attempt of it was started in time. Asks the database where
        it was claimed before; what was claimed and released again has no attempt on record.
        """
        if claim.attempts > 1:
            try:
                with self._engine.connect() as connection:
                    if has_started(connection, claim.id):
                        return job
            except SQLAlchemyError:
                return job
        self._settle_plainly(claim, outcomes.of_expiry(type(job)), 0)
        return None

    def _leave_to_others(self, claim: Claim, misfit: Verdict) -> None:
        if (note := self._misfits.met(time.monotonic(), claim.kind)) is not None:
            log.warning(
                "Released %s, whose payload may fit another release that is running%s",
                claim.kind,
                note,
                extra=log_fields("settle", claim),
            )
        self._settle(claim, outcomes.left_to_others(misfit, claim.attempts), 0)

    def _run_and_settle(self, attempt: Attempt) -> None:
        token = running_unit.set(attempt)
        try:
            self._begin(attempt)
            result = self._run(attempt)
            ran_ms = attempt.ran_ms
            verdict = self._conclude(attempt, result, ran_ms)
        finally:
            running_unit.reset(token)
            _clear_away()
            attempt.in_job = False
        self._settle_attempt(attempt, verdict, ran_ms)

    async def _await_and_settle(self, attempt: AsyncAttempt) -> None:
        running_unit.set(attempt)  # in the context of this job alone
        self._begin(attempt)
        result = await attempt.call()
        ran_ms = attempt.ran_ms
        verdict = await attempt.conclude(
            partial(self._conclude, attempt, result, ran_ms),
            in_database=is_transient(result) if isinstance(result, BaseException) else attempt.enqueues,
        )
        attempt.in_job = False
        self._settle_attempt(attempt, verdict, ran_ms)

    def _begin(self, attempt: Attempt) -> None:
        log.info("Processing %s", type(attempt.job).__name__, extra=log_fields("perform", attempt.claim))
        attempt.in_job = True

    def _run(self, attempt: Attempt) -> Verdict | BaseException:
        """The verdict on what `run` returned, or what it raised."""
        job = attempt.job
        try:
            try:
                returned = attempt.interruption.call(run_with_hooks, job, attempt)
            finally:
                attempt.end_if_forked()
            return outcomes.of_return(job, returned, attempt.claim.retries)
        except BaseException as exc:  # noqa: BLE001 - user code
            # SystemExit and KeyboardInterrupt too: user code may end its attempt, but not the thread.
            return exc

    def _conclude(self, attempt: Attempt, result: Verdict | BaseException, ran_ms: int) -> Verdict | None:
        """End the transaction of the job; the verdict that is to be settled, if that transaction has not done so."""
        try:
            verdict = self._failure(attempt, result) if isinstance(result, BaseException) else result
            if verdict.ending is Ending.FINISHED and (attempt.opened or attempt.enqueues):
                return self._finish_in_session(attempt, verdict, ran_ms)
            return verdict
        finally:
            self._close(attempt)

    def _settle_attempt(self, attempt: Attempt, verdict: Verdict | None, ran_ms: int) -> None:
        if attempt.output is not None and not attempt.given_up:
            finished = verdict is None or verdict.ending is Ending.FINISHED
            self._end_output(attempt, keep=not finished or attempt.job.keep_log)
        if verdict is not None and not attempt.given_up:
            self._settle_plainly(attempt.claim, verdict, ran_ms, type(attempt.job).__name__)

    def _failure(self, attempt: Attempt, error: BaseException) -> Verdict:
        cause = attempt.cause_of(error)
        uncounted = self._uncounted(attempt) if is_transient(cause) else 0
        return outcomes.of_failure(attempt.job, cause, attempt.claim.retries, uncounted)

    def _close(self, attempt: Attempt) -> None:
        try:
            attempt.close()
        except Exception as exc:
            # The server ends the transaction when it notices that the connection is gone. An interruption closes the
            # session on purpose, which is no outage.
            if attempt.interrupted_by is None and not logged_as_outage("performer", exc):
                log.warning(
                    "Failed to close the session of a job",
                    exc_info=True,
                    extra=log_fields("perform", attempt.claim),
                )

    def _uncounted(self, attempt: Attempt) -> int:
        # First: attempts that fail together would otherwise hold every connection of the pool, and wait for more.
        self._close(attempt)
        try:
            with self._engine.connect() as connection:
                return uncounted_failures(connection, attempt.task_id)
        except SQLAlchemyError:
            return 0  # the database that failed the job is not back yet

    def _finish_in_session(self, attempt: Attempt, verdict: Verdict, ran_ms: int) -> Verdict | None:
        """Commit the job's writes, the jobs it enqueued and its completion in one transaction.

        Returns None if that is done, or if the task belongs to another attempt; otherwise the failure.
        """
        claim, name = attempt.claim, type(attempt.job).__name__
        settlement = Settlement(claim.key, claim.attempts, verdict, claim.claimed_at, ran_ms)
        try:
            db.session.commit()  # ends the savepoint of the job's session
            with finishing():
                entered = self._complete(attempt, settlement)
        except ClaimLost as exc:
            log.warning("Result of %s discarded: %s", name, exc, extra=log_fields("lost", claim))
            self._drop(claim.token)
            return None
        except Exception as exc:  # noqa: BLE001 - the job's own writes fail here too
            # If the commit succeeded but its answer was lost, the fence rejects this failure.
            return self._failure(attempt, exc)
        attempt.in_job = False
        for noted, enqueued in entered:
            log_enqueued(noted, enqueued)
        log_ending(claim, verdict, ran_ms, name)
        self._drop(claim.token)
        return None

    def _complete(self, attempt: Attempt, settlement: Settlement) -> list[tuple[Job, Enqueued]]:
        connection = attempt.connection
        # Before the notes: a unique job that enqueues itself must not meet its own row as the duplicate.
        finish_one(connection, settlement, worker_id=self._worker_id)
        # In one order in every process: two jobs with the same unique notes would otherwise wait for each other.
        entered = [
            (
                note.job,
                enqueue(
                    connection,
                    note.job,
                    at=note.at,
                    priority=note.priority,
                    on_duplicate=note.on_duplicate,
                ),
            )
            for note in sorted(attempt.notes, key=lambda note: note.job.uniq_hash() or "")
        ]
        put_batches(connection, attempt.batches, attempt.claim.batch_id, attempt.added_to_batch)
        connection.commit()
        return entered

    def _settle_plainly(self, claim: Claim, verdict: Verdict, ran_ms: int, name: str | None = None) -> None:
        log_ending(claim, verdict, ran_ms, name or claim.kind or claim.task_type)
        self._settle(claim, verdict, ran_ms)

    def _settle(self, claim: Claim, verdict: Verdict, ran_ms: int) -> None:
        # Without the error: its frames would keep what the job held until the database has answered.
        kept = replace(verdict, error=None) if verdict.error is not None else verdict
        self._hand_over(Settlement(claim.key, claim.attempts, kept, claim.claimed_at, ran_ms))


def _is_late(claim: Claim, job: Job) -> bool:
    """Whether the claim came after the job's expiry. Due at a moment that Python has not, a job never expires."""
    if job.expires is None:
        return False
    try:
        late = datetime.fromisoformat(claim.claimed_at) - datetime.fromisoformat(claim.scheduled_at)
    except ValueError:
        return False
    return late > job.expires


def _clear_away() -> None:
    """Reset the thread's context: a job must not see what another one left."""
    sessions = db.session.registry
    if sessions.registry and sessions.has():
        db.session.remove()
    if left := vars(g._get_current_object()):  # vars(g) costs as much as reading a payload
        left.clear()
