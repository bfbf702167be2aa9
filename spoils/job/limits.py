"""The limits of a job class: how many of its tasks run at a time, and how many start within a time."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from pydantic import BaseModel

from spoils.job.definition import wrong

MOST = 1_000_000
LONGEST_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `at_once` tasks run at a time, in the whole fleet.

    `by` names fields, whose values have a limit of their own each. Classes with the same `name` share one limit.

    Example: `limits = (Concurrency(2, by="user_id"), Concurrency(4, name="gpu"))`
    """

    at_once: int
    _: KW_ONLY
    by: str | Sequence[str] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `number` tasks start within any `per` seconds, in the whole fleet. `by` and `name` as in Concurrency.

    Example: `limits = (Rate(14, per=1), Rate(100, per=60, by="shop"))`
    """

    number: int
    _: KW_ONLY
    per: float
    by: str | Sequence[str] = ()
    name: str | None = None


Limit = Concurrency | Rate


def fields_of(limit: Limit) -> tuple[str, ...]:
    """The fields that `by` names."""
    return (limit.by,) if isinstance(limit.by, str) else tuple(limit.by)


def label_of(job_name: str, limit: Limit) -> str:
    """What the keys of the limit begin with: equal in all classes that share it.

    It leaves out the number, so that a release that changes it changes no key.
    """
    by = "".join(f".{field}" for field in fields_of(limit))
    per = f" per {limit.per:g} s" if isinstance(limit, Rate) else ""
    return f"{limit.name or job_name}{by}{per}"


def check_limits(cls: type[BaseModel], limits: object) -> None:
    """Raise JobDefinitionError where a limit of the class means nothing."""
    if not isinstance(limits, tuple | list) or not all(isinstance(one, Limit) for one in limits):
        raise wrong(
            cls,
            "limits must be a tuple of limits, as in limits = (Concurrency(2), Rate(14, per=1)); one needs a comma.",
        )
    labels = set()
    for limit in limits:
        _check_numbers(cls, limit)
        if not (
            limit.name is None
            or (isinstance(limit.name, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", limit.name))
        ):
            raise wrong(
                cls, "the name of a limit must be 1 to 100 letters, digits, dots, dashes or underscores."
            )
        _check_fields(cls, fields_of(limit))
        label = label_of(cls.__name__, limit)
        if label in labels:
            raise wrong(cls, f"two of its limits are one, {label}: take one out, or give one of them a name.")
        labels.add(label)


def _check_numbers(cls: type[BaseModel], limit: Limit) -> None:
    number = limit.number if isinstance(limit, Rate) else limit.at_once
    if type(number) is not int or not 1 <= number <= MOST:
        raise wrong(
            cls, f"a {type(limit).__name__} needs a whole number from 1 to 1,000,000, not {number!r}."
        )
    if isinstance(limit, Rate) and (
        type(limit.per) not in (int, float) or not 0 < limit.per <= LONGEST_SECONDS
    ):
        raise wrong(cls, f"per is the seconds of a Rate, up to seven days, not {limit.per!r}.")


def _check_fields(cls: type[BaseModel], fields: Sequence[object]) -> None:
    for field in fields:
        if field in cls.model_fields:
            continue
        meant = difflib.get_close_matches(str(field), cls.model_fields, n=1)
        suggestion = f" Did you mean {meant[0]}?" if meant else ""
        raise wrong(cls, f"`by` names the fields that a limit counts by, and {field!r} is none.{suggestion}")
