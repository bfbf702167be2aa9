"""Performs one job that is in no queue."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from spoils.client import Client
from spoils.config import Settings
from spoils.job import BatchResult, Job
from spoils.queue.claim import Claim
from spoils.queue.enqueue import row
from spoils.queue.ids import new_key
from spoils.testing.recorder import Performed, RowlessRecorder, recording


def perform(
    job: Job,
    *,
    attempt: int = 0,
    steps: Mapping[str, Any] | None = None,
    client: Client | None = None,
    previous: Any = None,
    batch_result: BatchResult | None = None,
) -> Performed:
    """Perform one attempt of `job`, which is in no database, as a worker would.

    `queue.session` opens a transaction in the database of `client` or DATABASE_URL. It is committed if the job
    finishes, else rolled back. What the job enqueues is checked and returned, but not put into a queue. `attempt` is
    the number of failures before, `steps` are the results of the steps that they have done; `previous` and
    `batch_result` are what the job finds in its queue. Raises PayloadError where the job could not be enqueued.
    """
    settings = Settings.from_env()
    values = row(job, at=None, priority=0, key=new_key())
    job.check_round_trip(values["metadata"])
    alone = Claim(
        key=values["id"],
        task_type=job.task_type,
        kind=type(job).__name__,
        metadata=values["metadata"],
        retries=attempt,
        attempts=attempt + 1,
        crashes=0,
        priority=values["priority"],
        scheduled_at="",
        claimed_at="",
        batch_id=str(uuid4()),
        previous=json.dumps(
            {
                "result": previous,
                "batch": batch_result and {**asdict(batch_result), "id": str(batch_result.id)},
            }
        ),
    )
    url = client._url if client else settings.database_url
    with recording(RowlessRecorder, settings, url, uuid4()) as performer:
        performer.steps_done = steps or {}
        return performer.performed(alone)
