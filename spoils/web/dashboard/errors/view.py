"""The failed jobs in groups, as their pages need them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from spoils.models import Attempt, Task
from spoils.queue import tasks
from spoils.reports import failure_groups
from spoils.reports.failure_groups import Group, Look, Seen
from spoils.reports.run_times import last_ran_ms
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.job_row import ErrorView, TaskRow, error_view, named, task_rows
from spoils.web.dashboard.shared.states import VIEWS, StateView
from spoils.web.dashboard.shared.status_bar import Strip
from spoils.web.dashboard.shared.traceback import Part, last_of_ours, parts
from spoils.web.masking import masked_text

WINDOWS: Mapping[str, timedelta | None] = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "all": None,
}
WINDOW_WORDS = {"24h": "24 hours", "7d": "7 days", "all": "all"}
SHOWN = 50
MEMBERS = 50
SPARK_HEIGHT = 28.0


@dataclass(frozen=True, slots=True)
class Trial:
    """The one job of a group that was retried first, and what became of it."""

    id: str
    short_id: str
    state: StateView
    ran: str
    changed: formats.Moment | None
    message: str
    ended: bool


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group of like failures."""

    key: str
    name: str
    message: str
    place: str
    types: str
    count: str
    bars: str
    first: formats.Moment | None
    last: formats.Moment | None
    releases: str
    new_in: str
    example: str
    trial: Trial | None


@dataclass(frozen=True, slots=True)
class Errors:
    """The page of all groups."""

    groups: tuple[GroupRow, ...]
    summary: str
    begin: formats.Moment | None
    window: str
    releases: tuple[str, ...]
    since: str | None
    more: str


@dataclass(frozen=True, slots=True)
class GroupPage:
    """The page of one group: the same, a traceback, and the jobs that failed last."""

    group: GroupRow
    error: ErrorView
    traceback: tuple[Part, ...]
    rows: tuple[TaskRow, ...]
    listed: str
    """How many of the group `rows` are, where they are not all."""
    window: str


def list_errors(
    session: Session, strip: Strip, *, window: str, since: str | None, tried: tuple[str, UUID] | None
) -> Errors:
    """All groups within `window`; with `since`, only those that are new since that release."""
    found = failure_groups.look(session, now=strip.now, since=_since(window, strip.now))
    releases = failure_groups.releases(session)
    began = dict(releases)
    groups = found.groups
    seen = failure_groups.seen(session, [each.key for each in groups[: 4 * SHOWN]])
    if since in began:
        groups = tuple(each for each in groups if _first(each, seen) >= began[since])
    rows = _rows(groups[:SHOWN], _Known(session, seen, _newest(releases), strip, tried, found.whole))
    return Errors(
        groups=rows,
        summary=_summary(found, strip),
        begin=formats.moment(found.since, strip.now),
        window=window,
        releases=tuple(name for name, _ in releases),
        since=since if since in began else None,
        more=f"{formats.plural(len(groups) - SHOWN, 'older group')} are not shown."
        if len(groups) > SHOWN
        else "",
    )


def show_group(
    session: Session, key: str, strip: Strip, *, window: str, tried: UUID | None
) -> GroupPage | None:
    """One group within `window`; None where nothing in it is failed."""
    since = _since(window, strip.now)
    found = failure_groups.look(session, now=strip.now, since=since)
    group = next((each for each in found.groups if each.key == key), None)
    members = failure_groups.members(session, key, MEMBERS, since=since)
    if group is None and members:
        group = Group(key, members[0].id, None, members[-1].updated_at, members[0].updated_at, len(members))
    if group is None:
        return None
    seen = failure_groups.seen(session, [key])
    releases = failure_groups.releases(session)
    known = _Known(session, seen, _newest(releases), strip, (key, tried) if tried else None, found.whole)
    row = _rows((group,), known)[0]
    attempts = failure_groups.attempts_by_id(session, [group.attempt] if group.attempt else [])
    attempt = next(iter(attempts.values()), None)
    return GroupPage(
        group=row,
        error=ErrorView(row.name, row.message),
        traceback=parts(masked_text(attempt.traceback)) if attempt and attempt.traceback else (),
        rows=task_rows(session, members, strip.now),
        listed=f"the last {len(members)} of {row.count}" if group.count > len(members) else "",
        window=window,
    )


def _since(window: str, now: datetime) -> datetime | None:
    span = WINDOWS[window]
    return now - span if span else None


@dataclass(frozen=True, slots=True)
class _Known:
    """What the rows of all groups are made from."""

    session: Session
    seen: Mapping[str, Seen]
    newest: tuple[str, datetime] | None
    strip: Strip
    tried: tuple[str, UUID] | None
    whole: bool
    """Whether all that failed was looked at: else a group may have more than were found."""


def _rows(groups: tuple[Group, ...], known: _Known) -> tuple[GroupRow, ...]:
    ids = [each.attempt for each in groups if each.attempt]
    attempts = failure_groups.attempts_by_id(known.session, ids)
    return tuple(_row(each, attempts.get(each.attempt or 0), known) for each in groups)


def _row(group: Group, attempt: Attempt | None, known: _Known) -> GroupRow:
    of, newest, now = known.seen.get(group.key), known.newest, known.strip.now
    error = _error(known.session, group, attempt)
    types = sorted(named(each) for each in group.types)
    first = _first(group, known.seen)
    tried = known.tried[1] if known.tried and known.tried[0] == group.key else None
    return GroupRow(
        key=group.key,
        name=formats.shortened(error.name or error.message or "No message", 160),
        message=error.message if error.name else "",
        place=_place(attempt),
        types=", ".join(types[:3]) + (f" and {len(types) - 3} more" if len(types) > 3 else ""),
        count=f"{formats.number(group.count)}{'' if known.whole else '+'}",
        bars=_bars(group.bins),
        first=formats.moment(first, now),
        last=formats.moment(of.last_at if of else group.last_at, now),
        releases=_releases(of),
        new_in=formats.one_line(newest[0]) if newest and first >= newest[1] else "",
        example=str(group.example),
        trial=_trial(known.session, tried, known.strip) if tried else None,
    )


def _newest(releases: Sequence[tuple[str, datetime]]) -> tuple[str, datetime] | None:
    """The release that came last, where it is not the only one: what is new in it did not come with it otherwise."""
    return releases[0] if len(releases) > 1 else None


def _error(session: Session, group: Group, attempt: Attempt | None) -> ErrorView:
    if attempt is not None:
        message = formats.shortened(formats.one_line(masked_text(attempt.message or "")), 300)
        return ErrorView(formats.one_line(attempt.error_class or ""), message)
    task = session.get(Task, group.example)
    return (error_view(task.error_message) if task else None) or ErrorView("", "No message")


def _place(attempt: Attempt | None) -> str:
    """Where in our own code it arose: the last frame of the traceback that is no library's."""
    ours = last_of_ours(attempt.traceback) if attempt else None
    if ours is None:
        return "no frame of ours"
    return masked_text(f"{ours.path}:{ours.line} {ours.function}".strip())


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


def _trial(session: Session, task_id: UUID, strip: Strip) -> Trial | None:
    task = tasks.find_task(session, task_id)
    if task is None:
        return None
    error = error_view(task.error_message)
    told = (
        f"{error.name}: {error.message}".removeprefix(": ")
        if error and task.state.value in ("failed", "retried")
        else ""
    )
    return Trial(
        id=str(task.id),
        short_id=str(task.id)[-8:],
        state=VIEWS[task.state],
        ran=formats.run_time(last_ran_ms(session, [task]).get(task.id)),
        changed=formats.moment(task.updated_at, strip.now),
        message=told,
        ended=task.state.value in ("failed", "finished", "retried"),
    )


def _summary(found: Look, strip: Strip) -> str:
    failed = next(each.count for each in strip.states if each.state.name == "failed")
    groups = formats.plural(len(found.groups), "group")
    if found.whole:
        return f"{formats.plural(found.looked, 'failed job')} in {groups}."
    return (
        f"Looked at the last {formats.number(found.looked)} of {formats.plural(failed, 'failed job')}, "
        f"in {groups}. What failed before them is not counted here."
    )
