"""Doing what an operator asked of many jobs."""

from uuid import UUID

from spoils.job import Job, Queue
from spoils.models import db
from spoils.queue.bulk import advance
from spoils.queue.selection import OWN_TYPE


class BulkJob(Job):
    """Carries out one action on many jobs, chunk by chunk, and resumes where a worker was killed at it."""

    bulk_id: UUID

    task_type = OWN_TYPE
    uniq = True
    hidden = True

    def run(self, queue: Queue) -> None:
        """Each step is a transaction of its own: nothing waits long for a lock, and what was done stays so."""
        more = True
        while more:
            queue.checkpoint()
            with db.engine.begin() as connection:
                more = advance(connection, self.bulk_id)
