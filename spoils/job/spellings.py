"""Fields whose values can be written in several ways."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from spoils.job.registry import registry


@dataclass(frozen=True, slots=True)
class Spellings:
    """Annotates a field of a job class: `of` returns every way of writing a value, so that a search finds them all.

    Example: `Code = Annotated[str, Spellings(lambda code: {code, code.lstrip("0")})]`
    """

    of: Callable[[str], Collection[str]]


def spellings(field: str, value: str) -> set[str]:
    """The ways of writing `value` in a payload's `field`, by what the job classes that have that field declare."""
    found = {value}
    for job_class in registry:
        info = job_class.model_fields.get(field)
        for mark in info.metadata if info else ():
            if isinstance(mark, Spellings):
                found |= set(mark.of(value))
    return found
