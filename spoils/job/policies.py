"""The policies of a job class, and which values they may have."""

import re
from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import BaseModel

from spoils.job.cron import Cron, CronError
from spoils.job.definition import text_of, wrong
from spoils.job.limits import Limit, check_limits
from spoils.job.ping_url import WRONG, is_ping_url
from spoils.job.unique import Unique

COMMON = "common"
RESERVED_ENDPOINTS = {"status", "stats", "batch"}
LONGEST_KEPT = timedelta(days=36_500)
LONGEST_EXPIRY = timedelta(days=3_650)


class Policies(BaseModel):
    """What a job class may set beside its fields."""

    uniq: ClassVar[bool | Unique] = False
    """Whether an equal payload may wait or run only once at a time; or, as a Unique, which fields count, and when."""
    task_type: ClassVar[str] = COMMON
    """The value of `fang_tasks.task_type`; by default the class's name without "Job", in snake case."""
    endpoint: ClassVar[str] = ""
    """The name under /api/jobs/; by default the task type in kebab case."""
    max_retries: ClassVar[int] = 20
    """How often a failed task is tried again before it is failed for good."""
    cron: ClassVar[str | None] = None
    """Five fields, or six with seconds first: the queue enqueues the class at each tick. All fields need defaults."""
    cron_timezone: ClassVar[str | None] = None
    """The zone of `cron`; by default the setting SPOILS_CRON_TIMEZONE."""
    catch_up: ClassVar[Literal["skip", "once", "all"]] = "skip"
    """What to do with ticks missed while no worker was up: run none of them, one for them all, or each."""
    overlap: ClassVar[bool | None] = None
    """Whether a tick's task may be enqueued while that of the tick before still waits or runs. A unique class never
    may; others may unless this is False."""
    ping_url: ClassVar[str | None] = None
    """A URL that is called after each job of a tick that has finished, for a monitor that alerts without the call."""
    timeout: ClassVar[float | None] = None
    """Seconds that an attempt may take; None sets no bound."""
    limits: ClassVar[tuple[Limit, ...]] = ()
    """How many of its tasks run at a time (Concurrency), and how many start within a time (Rate), fleet-wide."""
    expires: ClassVar[timedelta | None] = None
    """How long after it was due a job may still be started; then it is failed as expired. None sets no bound."""
    keep: ClassVar[timedelta | None] = None
    """How long finished jobs are kept; by default the setting SPOILS_RETENTION_DAYS."""
    keep_failed: ClassVar[timedelta | None] = None
    """How long failed jobs are kept; by default the setting SPOILS_FAILED_RETENTION_DAYS."""
    keep_log: ClassVar[bool] = False
    """Whether the lines of `queue.log("text")` and the progress are kept of attempts that finish too."""
    open: ClassVar[bool] = False
    """Whether the endpoint is open to everybody while no API token is set."""
    hidden: ClassVar[bool] = False
    """Whether it is the queue's own: without an endpoint, and not offered by the dashboard."""
    enqueued_message: ClassVar[str] = "Job enqueued successfully"
    """What the endpoint answers."""


def check_policies(cls: type[Policies]) -> None:
    """Raise JobDefinitionError where a policy has a value that it cannot have."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", text_of(cls.task_type)):
        raise wrong(cls, "task_type must be 1 to 100 letters, digits, dots, dashes or underscores.")
    if cls.endpoint in RESERVED_ENDPOINTS:
        raise wrong(cls, f'"{cls.endpoint}" cannot be an endpoint: /api/jobs/{cls.endpoint} is reserved.')
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,99}", text_of(cls.endpoint)):
        raise wrong(
            cls, f'"{cls.endpoint}" cannot be an endpoint: lower-case letters, digits and dashes are needed.'
        )
    if type(cls.max_retries) is not int or not 0 <= cls.max_retries <= 10_000:
        raise wrong(cls, "max_retries must be a whole number from 0 to 10,000.")
    if cls.timeout is not None and (
        type(cls.timeout) not in (int, float) or not 0 < cls.timeout <= 7 * 24 * 3600
    ):
        raise wrong(cls, "timeout must be None or seconds from 0 to seven days.")
    check_limits(cls, cls.limits)
    if cls.catch_up not in ("skip", "once", "all"):
        raise wrong(cls, 'catch_up must be "skip", "once" or "all".')
    if cls.overlap and cls.uniq:
        raise wrong(cls, "a unique job cannot overlap with itself.")
    for name in ("keep_log", "open", "hidden"):
        if type(getattr(cls, name)) is not bool:
            raise wrong(cls, f"{name} must be True or False.")
    _check_uniq(cls)
    for name, longest in (("expires", LONGEST_EXPIRY), ("keep", LONGEST_KEPT), ("keep_failed", LONGEST_KEPT)):
        _check_duration(cls, name, longest)
    if cls.ping_url is not None and not is_ping_url(text_of(cls.ping_url)):
        raise wrong(cls, WRONG)
    for name in ("cron", "cron_timezone"):
        if not isinstance(getattr(cls, name), str | None):
            raise wrong(cls, f"{name} must be None or a text.")
    if cls.cron is not None:
        try:
            Cron(cls.cron, cls.cron_timezone or "UTC")
        except CronError as exc:
            raise wrong(cls, str(exc)) from exc


def _check_uniq(cls: type[Policies]) -> None:
    if isinstance(cls.uniq, Unique):
        if sentence := cls.uniq.mistake(cls.model_fields):
            raise wrong(cls, sentence)
    elif type(cls.uniq) is not bool:
        raise wrong(cls, 'uniq must be True, False or a Unique, as in uniq = Unique("product_id").')


def _check_duration(cls: type[Policies], name: str, longest: timedelta) -> None:
    value = getattr(cls, name)
    if value is not None and not (type(value) is timedelta and timedelta(0) < value <= longest):
        raise wrong(
            cls,
            f"{name} must be None or a timedelta of at most {longest.days:,} days, as in timedelta(hours=6).",
        )
