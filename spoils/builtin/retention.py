"""How long ended jobs are kept, where their classes say so, and the job that deletes them each hour."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from spoils.job import Job, Queue
from spoils.job.registry import registry
from spoils.models import TaskState, db
from spoils.queue import prune


@dataclass(frozen=True, slots=True)
class Kept:
    """How long the finished and the failed jobs of the classes are kept that say so, by the names of the classes."""

    finished: Mapping[str, timedelta]
    failed: Mapping[str, timedelta]


def kept_by_class() -> Kept:
    """What the job classes of this program say."""
    return Kept(
        {one.__name__: one.keep for one in registry if one.keep is not None},
        {one.__name__: one.keep_failed for one in registry if one.keep_failed is not None},
    )


def prune_tasks(
    connection: Connection,
    state: TaskState,
    *,
    days: float | None,
    own: Mapping[str, timedelta],
    stopping: Callable[[], bool],
) -> int:
    """Delete the tasks in `state` that are beyond the retention of their class, the others after `days` or never.

    In small batches, each its own transaction; how many went.
    """
    total = 0
    if own:
        for gone in prune.prune_by_class(connection, state, days=days, own=own):
            total += gone
            if stopping():
                break
    elif days is not None:
        while (gone := prune.prune_tasks(connection, state, days=days)) and not stopping():
            total += gone
    return total


class _WhereAClassKeeps:
    """Hourly, but only where a job class says how long its jobs are kept: all others are deleted each night."""

    def __get__(self, _instance: object, _owner: type) -> str | None:
        kept = kept_by_class()
        return "30 * * * *" if kept.finished or kept.failed else None


class RetentionJob(Job):
    """Deletes finished and failed jobs of the classes that say how long they are kept."""

    task_type = "retention"
    uniq = True
    hidden = True
    max_retries = 1
    cron = _WhereAClassKeeps()

    def run(self, queue: Queue) -> None:
        """Of all other classes nothing is deleted: the nightly cleanup does that."""
        kept = kept_by_class()
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for state, own in ((TaskState.FINISHED, kept.finished), (TaskState.FAILED, kept.failed)):
                gone = prune_tasks(connection, state, days=None, own=own, stopping=lambda: queue.stopping)
                if gone:
                    queue.log.info("Pruned %d %s", gone, state.value)
            while (gone := prune.prune_steps(connection)) and not queue.stopping:
                queue.log.info("Pruned %d steps", gone)
