"""Reads the job of a claim. A row that does not fit here may be for a live worker of another release."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from spoils.errors import PayloadError
from spoils.job import Job
from spoils.job.definition import is_async
from spoils.job.outcome import Verdict
from spoils.job.registry import Registry
from spoils.job.schema import ignored_fields, schema_digest
from spoils.models import is_limited
from spoils.queue.claim import Claim
from spoils.queue.worker_rows import has_other_schema
from spoils.worker import attempt_outcome as outcomes


class JobReader:
    """Makes a job of the row that a claim holds.

    `others_differ`: whether a live worker has other job classes, or other fields of one.
    """

    def __init__(
        self, *, engine: Engine, registry: Registry, worker_id: UUID, others_differ: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._worker_id = worker_id
        self._others_differ = others_differ

    def read(self, claim: Claim, *, asynchronous: bool) -> tuple[Job | None, Verdict | None]:
        """The job, and what does not fit: the row cannot be read, this release would ignore some of its fields, or it
        was enqueued without the limits of its class, by psql or an older release.
        """
        try:
            job = self._decode(claim, asynchronous=asynchronous)
        except BaseException as exc:  # noqa: BLE001 - a class's validators are user code
            return None, outcomes.of_misfit(exc)
        if job.limits and not is_limited(claim.priority):
            return job, outcomes.BEFORE_ITS_LIMITS
        # Only then: reading each payload twice would cost a tenth of a small job.
        if self._others_differ() and (ignored := ignored_fields(type(job), claim.metadata)):
            sentence = f"{type(job).__name__} has no field {', '.join(ignored)} in this release."
            return job, outcomes.of_misfit(PayloadError(sentence))
        return job, None

    def may_fit_elsewhere(self, claim: Claim) -> bool:
        """Whether a live worker has other fields of the row's class. Asks the database."""
        job_class = self._registry.get(claim.kind or "")
        if job_class is None:
            return False
        digest = schema_digest(job_class)
        try:
            with self._engine.connect() as connection:
                return has_other_schema(
                    connection, worker_id=self._worker_id, job=job_class.__name__, digest=digest
                )
        except SQLAlchemyError:
            return True  # asked again at the next claim

    def _decode(self, claim: Claim, *, asynchronous: bool) -> Job:
        job_class = self._registry.get(claim.kind or "")
        if job_class is None:  # only rows that name no class are claimed without a class that is known here
            raise PayloadError('The metadata has no "type" that names a job class.')
        if is_async(job_class) != asynchronous:
            raise PayloadError(
                f"The task type is {claim.task_type}, and that of {claim.kind} is {job_class.task_type}: "
                f"only one of them is performed by the event loop."
            )
        return job_class.from_wire(claim.metadata)
