"""Which job classes there are: the one module-level state of the project. A class enters it when it is defined."""

from spoils.job.base import Job, registry
from spoils.job.job_classes import JobClasses

__all__ = ["Registry", "registry"]

Registry = JobClasses[Job]
