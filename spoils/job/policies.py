"""The policies of a job class, and which values they may have."""

import re
from typing import ClassVar, Literal

from pydantic import BaseModel

from spoils.job.cron import Cron, CronError
from spoils.job.definition import text_of, wrong
from spoils.job.ping_url import WRONG, is_ping_url

COMMON = "common"
RESERVED_ENDPOINTS = {"status", "stats", "batch"}


class Policies(BaseModel):
    """What a job class may set beside its fields."""

    uniq: ClassVar[bool] = False
    """Whether an equal payload may wait or run only once at a time."""
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
    if cls.catch_up not in ("skip", "once", "all"):
        raise wrong(cls, 'catch_up must be "skip", "once" or "all".')
    if cls.overlap and cls.uniq:
        raise wrong(cls, "a unique job cannot overlap with itself.")
    for name in ("uniq", "open", "hidden"):
        if type(getattr(cls, name)) is not bool:
            raise wrong(cls, f"{name} must be True or False.")
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
