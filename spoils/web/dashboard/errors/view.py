"""The failed jobs in groups, and the page of one group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.masking import masked_text
from spoils.models import Attempt, TaskState
from spoils.queue import tasks
from spoils.reports import failure_groups
from spoils.reports.brief_tasks import task_by_id
from spoils.reports.failure_groups import Group, Scan, Seen
from spoils.reports.given_up import gave_up
from spoils.reports.run_times import last_ran_ms
from spoils.reports.workers import releases as releases_on_record
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.job_row import (
    GAVE_UP,
    ErrorView,
    JobRow,
    error_view,
    job_rows,
    named,
    short_id,
)
from spoils.web.dashboard.shared.states import VIEWS, StateView
from spoils.web.dashboard.shared.status_bar import StatusBar
from spoils.web.dashboard.shared.traceback import Part, last_application_frame, parse

WINDOWS: Mapping[str, timedelta | None] = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "all": None}
WINDOW_WORDS = {"24h": "24 hours", "7d": "7 days", "all": "all"}
SHOWN = 50
MEMBERS = 50
SPARK_HEIGHT = 28.0


@dataclass(frozen=True, slots=True)
class Trial:
    """The job of a group that was retried first, and its result."""

    id: str
    short_id: str
    state: StateView
    ran: str
    changed: formats.Moment
    message: str
    ended: bool


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group of similar failures."""

    key: str
    name: str
    message: str
    place: str
    types: str
    count: str
    retrying: str
    bars: str
    first: formats.Moment
    last: formats.Moment
    releases: str
    new_in: str
    example: str
    trial: Trial | None


@dataclass(frozen=True, slots=True)
class ErrorsPage:
    """The page of all groups."""

    groups: tuple[GroupRow, ...]
    summary: str
    begin: formats.Moment
    window: str
    releases: tuple[str, ...]
    since: str | None
    more: str


@dataclass(frozen=True, slots=True)
class GroupPage:
    """The page of one group: its row, a traceback, and the jobs that failed last."""

    group: GroupRow
    error: ErrorView
    traceback: tuple[Part, ...]
    rows: tuple[JobRow, ...]
    listed: str
    """How many of the jobs are in `rows`, if not all."""
    window: str


def list_groups(
    session: Session, bar: StatusBar, *, window: str, since: str | None, tried: tuple[str, UUID] | None
) -> ErrorsPage:
    """All groups within `window`; with `since`, only those that appeared with or after that release."""
    found = failure_groups.scan(session, now=bar.now, since=_since(window, bar.now))
    releases = releases_on_record(session)
    started = dict(releases)
    retrying = failure_groups.scan(
        session, now=bar.now, since=_since(window, bar.now), state=TaskState.RETRIED
    )
    groups = failure_groups.with_retrying(found.groups, retrying.groups)
    seen = failure_groups.seen(session, [each.key for each in groups[: 4 * SHOWN]])
    if since in started:
        groups = tuple(each for each in groups if _first(each, seen) >= started[since])
    context = _Context(session, seen, _newest(releases), bar, tried, found.whole, retrying.whole)
    hidden = len(groups) - SHOWN
    return ErrorsPage(
        groups=context.rows(groups[:SHOWN]),
        summary=_summary(found, retrying, len(groups), bar),
        begin=formats.moment(found.since, bar.now),
        window=window,
        releases=tuple(name for name, _ in releases),
        since=since if since in started else None,
        more=f"{formats.plural(hidden, 'smaller group is', 'smaller groups are')} not shown."
        if hidden > 0
        else "",
    )


def show_group(
    session: Session, key: str, bar: StatusBar, *, window: str, tried: UUID | None
) -> GroupPage | None:
    """One group within `window`; None if it has no failed jobs there."""
    since = _since(window, bar.now)
    found = failure_groups.scan(session, now=bar.now, since=since)
    waiting = failure_groups.scan(session, now=bar.now, since=since, state=TaskState.RETRIED)
    groups = failure_groups.with_retrying(found.groups, waiting.groups)
    group = next((each for each in groups if each.key == key), None)
    members = [
        task
        for state in (TaskState.FAILED, TaskState.RETRIED)
        for task in failure_groups.members(session, key, MEMBERS, since=since, state=state)
    ]
    if group is None and members:
        moments = [task.updated_at for task in members]
        retrying = sum(task.state is TaskState.RETRIED for task in members)
        group = Group(key, members[0].id, None, min(moments), max(moments), len(members) - retrying, retrying)
    if group is None:
        return None
    seen = failure_groups.seen(session, [key])
    newest = _newest(releases_on_record(session))
    context = _Context(
        session, seen, newest, bar, (key, tried) if tried else None, found.whole, waiting.whole
    )
    row = context.rows((group,))[0]
    attempts = failure_groups.attempts_by_id(session, [group.attempt] if group.attempt else [])
    attempt = next(iter(attempts.values()), None)
    number = group.count + group.retrying
    return GroupPage(
        group=row,
        error=ErrorView(row.name, row.message),
        traceback=parse(masked_text(attempt.traceback)) if attempt and attempt.traceback else (),
        rows=job_rows(session, members, bar.now),
        listed=f"the last {len(members)} of {formats.number(number)}" if number > len(members) else "",
        window=window,
    )


def _since(window: str, now: datetime) -> datetime | None:
    span = WINDOWS[window]
    return now - span if span else None


@dataclass(frozen=True, slots=True)
class _Context:
    """What the rows of all groups are made from."""

    session: Session
    seen: Mapping[str, Seen]
    newest: tuple[str, datetime] | None
    bar: StatusBar
    tried: tuple[str, UUID] | None
    whole: bool
    """Whether all failed jobs were read; otherwise a group may be larger than its count."""
    whole_retrying: bool
    """The same for those that wait for a retry."""

    def rows(self, groups: Sequence[Group]) -> tuple[GroupRow, ...]:
        ids = [each.attempt for each in groups if each.attempt]
        attempts = failure_groups.attempts_by_id(self.session, ids)
        return tuple(self._row(each, attempts.get(each.attempt or 0)) for each in groups)

    def _row(self, group: Group, attempt: Attempt | None) -> GroupRow:
        of, newest, now = self.seen.get(group.key), self.newest, self.bar.now
        error = _error(self.session, group, attempt)
        types = sorted(named(each) for each in group.types)
        first = _first(group, self.seen)
        tried = self.tried[1] if self.tried and self.tried[0] == group.key else None
        return GroupRow(
            key=group.key,
            name=formats.shortened(error.name or error.message or "No message", 160),
            message=error.message if error.name else "",
            place=_place(attempt),
            types=formats.listed(types, 3),
            count=f"{formats.number(group.count)}{'' if self.whole else '+'}",
            retrying=f"{formats.number(group.retrying)}{'' if self.whole_retrying else '+'}",
            bars=_bars(group.bins),
            first=formats.moment(first, now),
            last=formats.moment(of.last_at if of else group.last_at, now),
            releases=_releases(of),
            new_in=formats.one_line(newest[0]) if newest and first >= newest[1] else "",
            example=str(group.example),
            trial=_trial(self.session, tried, now) if tried else None,
        )


def _newest(releases: Sequence[tuple[str, datetime]]) -> tuple[str, datetime] | None:
    """The latest release; None if it is the only one, since then every group would be new in it."""
    return releases[0] if len(releases) > 1 else None


def _error(session: Session, group: Group, attempt: Attempt | None) -> ErrorView:
    if attempt is not None:
        message = formats.shortened(formats.one_line(masked_text(attempt.message or "")), 300)
        name = GAVE_UP if gave_up(attempt) else formats.one_line(attempt.error_class or "")
        return ErrorView(name, message)
    task = task_by_id(session, group.example)
    return (error_view(task.error_message) if task else None) or ErrorView("", "No message")


def _place(attempt: Attempt | None) -> str:
    """The place in the application where the error occurred."""
    frame = last_application_frame(attempt.traceback) if attempt else None
    if frame is None:
        return "no application frame"
    return masked_text(f"{frame.path}:{frame.line} {frame.function}".strip())


def _first(group: Group, seen: Mapping[str, Seen]) -> datetime:
    of = seen.get(group.key)
    return of.first_at if of else group.first_at


def _releases(of: Seen | None) -> str:
    if of is None or not (of.first_release or of.last_release):
        return ""
    ends = dict.fromkeys(formats.one_line(each) for each in (of.first_release, of.last_release) if each)
    return "–".join(formats.shortened(each, 40) for each in ends)


def _bars(bins: list[int]) -> str:
    """The bars of a sparkline as one path, in the units of its view box."""
    highest = max(bins, default=0)
    heights = [(x, max(1.5, SPARK_HEIGHT * count / highest)) for x, count in enumerate(bins) if count]
    return "".join(f"M{x} {SPARK_HEIGHT:g}v-{height:.4g}h.7v{height:.4g}z" for x, height in heights)


def _trial(session: Session, task_id: UUID, now: datetime) -> Trial | None:
    task = tasks.find_task(session, task_id)
    if task is None:
        return None
    failed = task.state in (TaskState.FAILED, TaskState.RETRIED)
    error = error_view(task.error_message) if failed else None
    return Trial(
        id=str(task.id),
        short_id=short_id(task.id),
        state=VIEWS[task.state],
        ran=formats.run_time(last_ran_ms(session, [task]).get(task.id)),
        changed=formats.moment(task.updated_at, now),
        message=f"{error.name}: {error.message}".removeprefix(": ") if error else "",
        ended=failed or task.state is TaskState.FINISHED,
    )


def _summary(found: Scan, retrying: Scan, number: int, bar: StatusBar) -> str:
    groups = formats.plural(number, "group")
    if found.whole:
        more = "" if retrying.whole else "+"
        retried = (
            f" and {formats.number(retrying.scanned)}{more} that will be retried" if retrying.scanned else ""
        )
        return f"{formats.plural(found.scanned, 'failed job')}{retried} in {groups}."
    failed = bar.count(bar.counts, TaskState.FAILED)
    return (
        f"The last {formats.number(found.scanned)} of {formats.plural(failed, 'failed job')}, in {groups}. "
        "Earlier failures are not counted."
    )
