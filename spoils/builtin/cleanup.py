"""Deleting old rows, every night."""

from collections.abc import Callable
from functools import partial

from spoils.builtin.retention import kept_by_class, prune_tasks
from spoils.config import current_settings
from spoils.job import Job, Queue
from spoils.models import TaskState, db
from spoils.queue import prune
from spoils.queue.batches import recount_batches
from spoils.queue.counts import recount

KEYS_KEPT_DAYS = 1.0
MINUTES_KEPT_DAYS = 1.0
"""The least, so that none goes before it is in the totals."""
Batch = Callable[[], int]
TRASH_DAYS = 1.0
"""How long the delete of a task can surely be undone."""
LOGOUTS_KEPT_DAYS = 1.0
"""Longer than the 12 h after which a cookie expires."""


class CleanupJob(Job):
    """Deletes finished and failed jobs beyond their retention, and the records that belonged to them; then recounts."""

    task_type = "cleanup"
    uniq = True
    max_retries = 1
    cron = "0 2 * * *"
    catch_up = "once"

    def run(self, queue: Queue) -> None:
        """Small batches, each its own transaction: nothing waits long for a lock, and what is deleted stays so."""
        settings = current_settings()
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            kept = settings.retention_days
            kept_failed = settings.failed_retention_days
            longest = max(kept, kept_failed)
            of_classes = kept_by_class()
            for state, days, own in (
                (TaskState.FINISHED, kept, of_classes.finished),
                (TaskState.FAILED, kept_failed, of_classes.failed),
            ):
                if gone := prune_tasks(
                    connection, state, days=days, own=own, stopping=lambda: queue.stopping
                ):
                    queue.log.info("Pruned %d %s", gone, state.value)
            batches: dict[str, Batch] = {
                "attempts": partial(prune.prune_attempts, connection, days=kept),
                "steps": partial(prune.prune_steps, connection),
                "outputs": partial(prune.prune_outputs, connection),
                "unique windows": partial(prune.prune_windows, connection),
                "minutes": partial(prune.prune_minutes, connection, days=max(longest, MINUTES_KEPT_DAYS)),
                "quarters": partial(prune.prune_quarters, connection, days=longest),
                "workers": partial(prune.prune_workers, connection, days=longest),
                "ticks": partial(prune.prune_ticks, connection, days=longest),
                "keys": partial(prune.prune_keys, connection, days=KEYS_KEPT_DAYS),
                "audit log entries": partial(prune.prune_audit, connection, days=longest),
                "deleted tasks": partial(prune.prune_trash, connection, days=TRASH_DAYS),
                "bulk actions": partial(prune.prune_bulks, connection, days=longest),
                "batches": partial(prune.prune_batches, connection, days=longest),
                "logouts": partial(prune.prune_logouts, connection, days=LOGOUTS_KEPT_DAYS),
                "incidents": partial(prune.prune_alerts, connection, days=longest),
            }
            for name, batch in batches.items():
                while (gone := batch()) and not queue.stopping:
                    queue.log.info("Pruned %d %s", gone, name)
        # A restore of data alone counts each row twice, and a delete beyond a plan's capacity counts none.
        with db.engine.begin() as connection:
            corrections = recount(connection)
        if corrections:
            queue.log.warning("Corrected the counts: %s", "; ".join(map(str, corrections)))
        if wrong := recount_batches(db.engine):
            queue.log.warning("Corrected the counts of %d batches", wrong)
