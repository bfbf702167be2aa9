"""Job classes by their names and endpoints."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from spoils.errors import JobDefinitionError
from spoils.job.definition import is_async, where, wrong
from spoils.job.limits import label_of
from spoils.job.policies import Policies

JobClass = TypeVar("JobClass", bound=Policies)


class JobClasses(Generic[JobClass]):
    """Job classes by name and by endpoint, in the order of their definition."""

    def __init__(self) -> None:
        self._by_name: dict[str, type[JobClass]] = {}
        self._by_endpoint: dict[str, type[JobClass]] = {}
        self.compares_payloads = False
        """Whether each enqueue compares the payload with what a worker will read: in development and in tests."""

    def add(self, job_class: type[JobClass]) -> None:
        """Raises JobDefinitionError where another class has the same name or endpoint, or the same task type while only
        one of the two is async (either threads or the event loop perform a task type), or another number for a limit
        that the two share.
        """
        name, endpoint = job_class.__name__, job_class.endpoint
        if other := self._by_name.get(name):
            raise JobDefinitionError(
                f"{name} is defined twice: in {where(other)} and in {where(job_class)}. Rename one of them."
            )
        self._check_alike(job_class)
        self._check_limits(job_class)
        if job_class.hidden:
            self._by_name[name] = job_class
            return
        if other := self._by_endpoint.get(endpoint):
            raise JobDefinitionError(
                f"{name} ({where(job_class)}) and {other.__name__} ({where(other)}) both have the endpoint "
                f"/api/jobs/{endpoint}: "
                f'set `endpoint = "…"` on one of them.'
            )
        self._by_name[name] = self._by_endpoint[endpoint] = job_class

    def _check_alike(self, job_class: type[JobClass]) -> None:
        for other in self:
            if other.task_type == job_class.task_type and is_async(other) != is_async(job_class):
                raise wrong(
                    job_class,
                    f'it has the task type "{job_class.task_type}", as {other.__name__} ({where(other)}) has, but only '
                    'one of them has an `async def run`: set `task_type = "…"` on one of them.',
                )

    def _check_limits(self, job_class: type[JobClass]) -> None:
        own = {label_of(job_class.__name__, limit): limit for limit in job_class.limits}
        for other in self:
            for limit in other.limits:
                label = label_of(other.__name__, limit)
                if own.get(label, limit) != limit:
                    raise wrong(
                        job_class,
                        f"it shares the limit {label} with {other.__name__} ({where(other)}), but the two differ: "
                        f"{own[label]} and {limit}.",
                    )

    def get(self, name: str) -> type[JobClass] | None:
        """The class of that name, which is the `type` in a task's metadata."""
        return self._by_name.get(name)

    def at_endpoint(self, endpoint: str) -> type[JobClass] | None:
        """The class whose endpoint is /api/jobs/<endpoint>."""
        return self._by_endpoint.get(endpoint)

    def named(self, name: str) -> list[type[JobClass]]:
        """The public classes that a caller may mean: that of this name or endpoint, else those of this task type."""
        found = self._by_endpoint.get(name) or self._by_name.get(name)
        if found is not None and not found.hidden:
            return [found]
        return [job_class for job_class in self.public() if job_class.task_type == name]

    def endpoints(self) -> list[str]:
        """Every endpoint under /api/jobs/ that a class has, in the order of the alphabet."""
        return sorted(self._by_endpoint)

    def public(self) -> list[type[JobClass]]:
        """The classes that have an endpoint: all but those of the queue's own."""
        return list(self._by_endpoint.values())

    def task_types(self) -> list[str]:
        """Every task type that a class here has, each once."""
        return list(dict.fromkeys(job_class.task_type for job_class in self))

    def own_types(self) -> frozenset[str]:
        """The task types that only the queue's own classes have."""
        public = {job_class.task_type for job_class in self.public()}
        return frozenset(self.task_types()) - public

    def __iter__(self) -> Iterator[type[JobClass]]:
        return iter(self._by_name.values())
