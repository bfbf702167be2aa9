"""Enqueues cron jobs at their ticks. Every worker does this; a unique row for each tick decides which one enqueues."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import islice

from sqlalchemy import Connection, Engine

from spoils.db.trouble import Trouble, log_error, log_success
from spoils.errors import PayloadError
from spoils.job import Job
from spoils.job.cron import Cron, CronError
from spoils.models import TickEnding
from spoils.queue import schedules, ticks
from spoils.queue.schedules import RuntimeSchedule
from spoils.queue.ticks import ScheduleProgress
from spoils.worker.background_transaction import background_transaction
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

LOOK_SECONDS = 30.0
ERROR_SECONDS = 5.0
LATE = timedelta(seconds=60)
"""A tick found later than this was due while no worker or no database was up: the class's `catch_up` decides."""
MOST_TICKS = 100_000
MOST_CAUGHT_UP = 100


_CAUGHT_UP = {"skip": 0, "once": 1, "all": MOST_CAUGHT_UP}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A schedule that this release can run: its name for the log, its class and its cron.

    `job` makes the job of a tick, in the tick's transaction; None if the schedule has been changed since it was read.
    """

    name: str
    job_class: type[Job]
    cron: Cron
    job: Callable[[Connection], Job | None]


class Scheduler:
    """Knows the classes that have a cron, reads the schedules made at runtime, and sleeps until the next tick of any,
    by the database's clock.
    """

    def __init__(
        self, *, engine: Engine, jobs: Sequence[type[Job]], default_zone: str, turn: threading.Lock
    ) -> None:
        """`turn` is shared by the parts that keep house, of which one at a time takes a connection."""
        self._engine = engine
        self._turn = turn
        self._jobs = [
            (
                job_class,
                Cron(job_class.cron, job_class.cron_timezone or default_zone),
                Trouble(f"scheduler, {job_class.__name__}"),
            )
            for job_class in jobs
            if job_class.cron is not None
        ]
        self._classes = {job_class.__name__: job_class for job_class in jobs}
        self._trouble = Trouble("scheduler, schedules made at runtime")
        self._refused: dict[int, int] = {}  # the version of each schedule that this release cannot run
        self.loop = Loop(name="scheduler", tick=self.tick)

    def tick(self) -> float:
        """Enqueue what is due. Returns the seconds until the next tick, half a minute at most."""
        left = [
            self._safely(trouble, partial(self._check, job_class, cron))
            for job_class, cron, trouble in self._jobs
        ]
        return min([*left, self._safely(self._trouble, self._check_runtime)])

    def _safely(self, trouble: Trouble, check: Callable[[], float]) -> float:
        # An error of one schedule must not delay the ticks of the others.
        try:
            left = check()
        except Exception as exc:  # noqa: BLE001 - it is logged
            log_error(trouble, exc)
            return ERROR_SECONDS
        log_success(trouble)
        return left

    def _check(self, job_class: type[Job], cron: Cron) -> float:
        with background_transaction(self._engine, self._turn) as connection:
            progress = ticks.schedule_progress(
                connection,
                job=job_class.__name__,
                task_type=job_class.task_type,
                cron=cron.expression,
                zone=cron.zone,
                ping_url=job_class.ping_url,
            )
        return self._proceed(
            _Entry(job_class.__name__, job_class, cron, lambda _connection: job_class()), progress
        )

    def _check_runtime(self) -> float:
        with background_transaction(self._engine, self._turn) as connection:
            found = schedules.runtime_schedules(connection)
        self._refused = {one.id: one.version for one in found if self._refused.get(one.id) == one.version}
        return min(
            (
                self._safely(self._trouble, partial(self._check_one, one))
                for one in found
                if one.id not in self._refused
            ),
            default=LOOK_SECONDS,
        )

    def _check_one(self, schedule: RuntimeSchedule) -> float:
        """Enqueue what is due of a schedule made at runtime. One that this release cannot run is left to others."""
        try:
            job_class = self._classes.get(schedule.job)
            if job_class is None:
                raise PayloadError(f"This release has no job class {schedule.job}.")
            cron = _cron(schedule.cron, schedule.zone)
            due_at = _next_tick(cron, schedule.settled_until)
            if schedule.settled_until <= schedule.now < due_at:
                return min((due_at - schedule.now).total_seconds(), LOOK_SECONDS)
            entry = _Entry(f'"{schedule.name}"', job_class, cron, _job_of(schedule, job_class))
            progress = ScheduleProgress(schedule.id, schedule.settled_until, schedule.now, schedule.paused_at)
            return self._proceed(entry, progress)
        except (PayloadError, CronError) as exc:
            # The same each time, until the schedule is changed or another release starts.
            self._refused[schedule.id] = schedule.version
            log.warning(
                'Not running the schedule "%s" here: %s', schedule.name, exc, extra={"action": "tick"}
            )
            return LOOK_SECONDS

    def _proceed(self, entry: _Entry, progress: ScheduleProgress) -> float:
        cron = entry.cron
        if progress.settled_until > progress.now and cron.next_after(progress.now) < progress.settled_until:
            with background_transaction(self._engine, self._turn) as connection:
                ticks.return_to_present(connection, progress)
            log.warning(
                "The database's clock was set back: the schedule of %s goes on from %s",
                entry.name,
                progress.now.isoformat(),
                extra={"action": "tick"},
            )
            progress = replace(progress, settled_until=progress.now)
        for moment in self._due(entry, progress):
            self._enter(entry, moment, progress.schedule_id)
        left = (cron.next_after(progress.now) - progress.now).total_seconds()
        return min(left, LOOK_SECONDS)

    def _due(self, entry: _Entry, progress: ScheduleProgress) -> list[datetime]:
        """The ticks to enqueue now; ticks that were missed or paused are recorded on the way."""
        moments = list(islice(entry.cron.due_between(progress.settled_until, progress.now), MOST_TICKS))
        moments = self._without_paused(entry, moments, progress)
        late = [moment for moment in moments if progress.now - moment > LATE]
        missed = late[: max(0, len(late) - _CAUGHT_UP[entry.job_class.catch_up])]
        if missed and (recorded := self._record(entry, ticks.record_missed, progress, missed)):
            log.warning("Missed %d ticks of %s", recorded, entry.name, extra={"action": "tick"})
        return moments[len(missed) :]

    def _without_paused(
        self, entry: _Entry, moments: list[datetime], progress: ScheduleProgress
    ) -> list[datetime]:
        """The ticks before the pause; the others are recorded as skipped."""
        if progress.paused_at is None:
            return moments
        # A pause in the future began while the database's clock was ahead.
        began = progress.paused_at if progress.paused_at <= progress.now else progress.settled_until
        skipped = [moment for moment in moments if moment >= began]
        if skipped and (recorded := self._record(entry, ticks.record_paused, progress, skipped)):
            log.info(
                "Skipped %d ticks of %s, which is paused",
                recorded,
                entry.name,
                extra={"action": "tick"},
            )
        return moments[: len(moments) - len(skipped)]

    def _record(
        self, entry: _Entry, record: Callable[..., int], progress: ScheduleProgress, moments: list[datetime]
    ) -> int:
        with background_transaction(self._engine, self._turn) as connection:
            if entry.job(connection) is None:
                return 0
            return record(connection, schedule_id=progress.schedule_id, moments=moments)

    def _enter(self, entry: _Entry, moment: datetime, schedule_id: int) -> None:
        with background_transaction(self._engine, self._turn) as connection:
            job = entry.job(connection)
            if job is None:
                return
            entered = ticks.enqueue_tick(connection, job, schedule_id=schedule_id, moment=moment)
        if entered is not None:
            log.info(
                "%s %s for its tick at %s",
                "Enqueued" if entered.outcome is TickEnding.ENTERED else "Skipped",
                entry.name,
                moment.isoformat(),
                extra={
                    "action": "tick",
                    "task_id": entered.task_id,
                    "task_type": entry.job_class.task_type,
                },
            )


def _job_of(schedule: RuntimeSchedule, job_class: type[Job]) -> Callable[[Connection], Job | None]:
    def job(connection: Connection) -> Job | None:
        payload = schedules.locked_payload(connection, schedule.id, schedule.version)
        # Where it was changed, paused or deleted, the next look sees it.
        return None if payload is None else schedules.job_of(job_class, payload)

    return job


@lru_cache(maxsize=2 * schedules.MOST)
def _cron(expression: str, zone: str) -> Cron:
    return Cron(expression, zone)


@lru_cache(maxsize=2 * schedules.MOST)
def _next_tick(cron: Cron, after: datetime) -> datetime:
    # What was settled last stays so from look to look.
    return cron.next_after(after)
