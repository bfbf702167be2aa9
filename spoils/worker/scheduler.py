"""Enqueues cron jobs at their ticks. Every worker does this; a unique row for each tick decides which one enqueues."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import Engine

from spoils.db.trouble import Trouble, log_error, log_success
from spoils.job import Job
from spoils.job.cron import Cron
from spoils.models import TickEnding
from spoils.queue import ticks
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


class Scheduler:
    """Knows the classes that have a cron, and sleeps until the next tick of any, by the database's clock."""

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
        self.loop = Loop(name="scheduler", tick=self.tick)

    def tick(self) -> float:
        """Enqueue what is due. Returns the seconds until the next tick, half a minute at most."""
        return min((self._check_safely(*entry) for entry in self._jobs), default=LOOK_SECONDS)

    def _check_safely(self, job_class: type[Job], cron: Cron, trouble: Trouble) -> float:
        # An error of one class must not delay the ticks of the others.
        try:
            left = self._check(job_class, cron)
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
            )
        if cron.next_after(progress.now) < progress.settled_until:
            with background_transaction(self._engine, self._turn) as connection:
                ticks.return_to_present(connection, progress)
            log.warning(
                "The database's clock was set back: the schedule of %s goes on from %s",
                job_class.__name__,
                progress.now.isoformat(),
                extra={"action": "tick"},
            )
            progress = replace(progress, settled_until=progress.now)
        for moment in self._due(job_class, cron, progress):
            self._enter(job_class, moment, progress.schedule_id)
        left = (cron.next_after(progress.now) - progress.now).total_seconds()
        return min(left, LOOK_SECONDS)

    def _due(self, job_class: type[Job], cron: Cron, progress: ticks.ScheduleProgress) -> list[datetime]:
        """The ticks to enqueue now; ticks that were missed or paused are recorded on the way."""
        moments = list(islice(cron.due_between(progress.settled_until, progress.now), MOST_TICKS))
        moments = self._without_paused(job_class, moments, progress)
        late = [moment for moment in moments if progress.now - moment > LATE]
        missed = late[: max(0, len(late) - _CAUGHT_UP[job_class.catch_up])]
        if missed:
            with background_transaction(self._engine, self._turn) as connection:
                recorded = ticks.record_missed(connection, schedule_id=progress.schedule_id, moments=missed)
            if recorded:
                log.warning("Missed %d ticks of %s", recorded, job_class.__name__, extra={"action": "tick"})
        return moments[len(missed) :]

    def _without_paused(
        self, job_class: type[Job], moments: list[datetime], progress: ticks.ScheduleProgress
    ) -> list[datetime]:
        """The ticks before the pause; the others are recorded as skipped."""
        if progress.paused_at is None:
            return moments
        # A pause in the future began while the database's clock was ahead.
        began = progress.paused_at if progress.paused_at <= progress.now else progress.settled_until
        skipped = [moment for moment in moments if moment >= began]
        if skipped:
            with background_transaction(self._engine, self._turn) as connection:
                recorded = ticks.record_paused(connection, schedule_id=progress.schedule_id, moments=skipped)
            if recorded:
                log.info(
                    "Skipped %d ticks of %s, which is paused",
                    recorded,
                    job_class.__name__,
                    extra={"action": "tick"},
                )
        return moments[: len(moments) - len(skipped)]

    def _enter(self, job_class: type[Job], moment: datetime, schedule_id: int) -> None:
        job = job_class()
        with background_transaction(self._engine, self._turn) as connection:
            entered = ticks.enqueue_tick(connection, job, schedule_id=schedule_id, moment=moment)
        if entered is not None:
            log.info(
                "%s %s for its tick at %s",
                "Enqueued" if entered.outcome is TickEnding.ENTERED else "Skipped",
                job_class.__name__,
                moment.isoformat(),
                extra={"action": "tick", "task_id": entered.task_id, "task_type": job_class.task_type},
            )
