"""Maintenance that any worker does for all: rollups, pings of schedules, and tasks that have expired, have no owner or
a class that nobody knows.
"""

import logging
import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Engine

from spoils.builtin.ping import PingJob
from spoils.job import Job
from spoils.queue.backlog_samples import sample_backlog
from spoils.queue.claim_scope import COMMON
from spoils.queue.counts import roll_up_counts
from spoils.queue.enqueue import enqueue
from spoils.queue.expiry import MOST, Expiry, expire
from spoils.queue.holds import drop_past_holds
from spoils.queue.limits import drop_stale_places
from spoils.queue.minute_stats import roll_up_minutes
from spoils.queue.quarter_rollups import roll_up_quarters
from spoils.queue.rescue import rescue_foreign, rescue_orphans
from spoils.queue.ticks import take_pings
from spoils.queue.total_rollups import roll_up_totals
from spoils.queue.unknown_classes import fail_unknown
from spoils.worker.attempt_outcome import of_expiry
from spoils.worker.background_transaction import background_transaction
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

EVERY_SECONDS = 10.0


class Maintenance:
    """Rolls up delta rows, releases tasks that nobody owns, and fails those that have expired or whose class nobody
    knows.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        worker_id: UUID,
        task_types: Sequence[str],
        shared_with_fang: bool,
        foreign_claim_timeout: float | None,
        turn: threading.Lock,
        jobs: Iterable[type[Job]] = (),
    ) -> None:
        """`turn` is shared by the parts that keep house, of which one at a time takes a connection."""
        self._engine = engine
        self._worker_id = worker_id
        self._turn = turn
        # fang's workers publish no classes: what they may know is left to them.
        self._task_types = [] if shared_with_fang else [name for name in task_types if name != COMMON]
        self._foreign_claim_timeout = foreign_claim_timeout
        self._expiries = [_expiry(one, one.expires) for one in jobs if one.expires is not None]
        self.loop = Loop(name="maintenance", tick=self.tick)

    def tick(self) -> float:
        """Do it once. The rollups come first, so that they go on whatever hinders the rest."""
        for roll_up in (roll_up_counts, roll_up_minutes, roll_up_quarters, roll_up_totals, sample_backlog):
            with background_transaction(self._engine, self._turn) as connection:
                roll_up(connection)
        with background_transaction(self._engine, self._turn) as connection:
            drop_stale_places(connection)
            drop_past_holds(connection)
            for schedule_id in take_pings(connection):
                enqueue(connection, PingJob(schedule_id=schedule_id))
        with self._turn, self._engine.connect() as connection:
            if orphans := rescue_orphans(connection):
                log.warning(
                    "Released %d jobs of workers that have ended", len(orphans), extra={"action": "rescue"}
                )
            unknown = fail_unknown(connection, worker_id=self._worker_id, task_types=self._task_types)
            if unknown:
                log.error(
                    "Failed %d jobs whose class no worker has known for a day",
                    unknown,
                    extra={"action": "fail_unknown"},
                )
            expired = expire(connection, self._expiries) if self._expiries else 0
            if expired:
                log.error("Failed %d jobs that had expired", expired, extra={"action": "expire"})
            if self._foreign_claim_timeout is not None:
                foreign = rescue_foreign(connection, timeout_seconds=self._foreign_claim_timeout)
                if foreign:
                    log.warning(
                        "Released %d jobs that foreign workers had claimed",
                        len(foreign),
                        extra={"action": "rescue"},
                    )
        return 0.0 if expired >= MOST else EVERY_SECONDS  # there may be more


def _expiry(job_class: type[Job], expires: timedelta) -> Expiry:
    report = of_expiry(job_class).report
    assert report is not None  # noqa: S101 - for the type checker
    return Expiry(
        job_class.__name__,
        job_class.task_type,
        expires.total_seconds(),
        report.error_class,
        report.message,
        report.fingerprint,
    )
