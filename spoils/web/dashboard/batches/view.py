"""Batches and chains as their pages show them: progress, members by state, what follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from spoils.models import ACTIVE, Batch, Task, TaskState
from spoils.queue.tasks import find_task
from spoils.reports import batches as report
from spoils.web import paging
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.batch_link import kind, title
from spoils.web.dashboard.shared.job_row import JobRow, Pair, job_rows, named, summary
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.states import VIEWS, StateView
from spoils.web.dashboard.shared.status_bar import StatusBar

LIST, MEMBERS, LINKS = "the list of batches", "the members by state", "the links"
LINKS_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a progress bar: where it begins and how long it is, in percent, and its state."""

    x: float
    width: float
    state: str


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch or chain in the list."""

    id: str
    kind: str
    title: str
    status: str
    glyph: str
    parts: tuple[Part, ...]
    percent: int
    done: str
    failed: str
    cancelled: str
    enqueued: formats.Moment
    took: str


@dataclass(frozen=True, slots=True)
class BatchList:
    """One page of the list."""

    rows: tuple[BatchRow, ...]
    newer: str | None
    older: str | None
    placed: bool
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemberCount:
    """How many members are in a state; the number that still exist is linked to the list of them."""

    state: StateView
    text: str
    listed: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Following:
    """A job that is enqueued later: `then`, or a link of a chain."""

    task_type: str
    summary: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class BatchView:
    """The page of one batch or chain."""

    row: BatchRow
    sentence: str
    figures: tuple[tuple[str, str], ...]
    members: tuple[MemberCount, ...]
    retryable: str
    """How many members a retry would be offered for; empty for none."""
    cancellable: str
    then: Following | None
    then_job: JobRow | None
    then_when: str
    links: tuple[JobRow, ...]
    more_links: str
    coming: tuple[Following, ...]
    missing: tuple[str, ...]


def list_batches(
    session: Session, bar: StatusBar, older: report.Key | None, newer: report.Key | None
) -> BatchList:
    """The page of the list before `older` or after `newer`."""
    budget = QueryBudget(session)
    page = budget.read(LIST, lambda: report.page_of_batches(session, older_than=older, newer_than=newer))
    return BatchList(
        rows=tuple(_row(batch, bar) for batch in page.rows) if page else (),
        newer=paging.encode(*page.newer) if page and page.newer else None,
        older=paging.encode(*page.older) if page and page.older else None,
        placed=older is not None or newer is not None,
        missing=(*bar.missing, *budget.missing),
    )


def show_batch(session: Session, batch: Batch, bar: StatusBar) -> BatchView:
    """The page of `batch`."""
    budget = QueryBudget(session)
    row = _row(batch, bar)
    condition, then_task, coming = batch.condition, batch.then_task, batch.links or ()
    enqueued = find_task(session, batch.enqueued_id) if batch.enqueued_id and then_task else None
    then_job = job_rows(session, [enqueued], bar.now)[0] if enqueued else None
    figures = _figures(batch)
    members = budget.read(MEMBERS, lambda: report.members_by_state(session, batch.id)) or {}
    links = budget.read(LINKS, lambda: _links(session, batch, bar)) or ((), "")
    return BatchView(
        row=row,
        sentence=_sentence(batch, row, bar),
        figures=figures,
        members=tuple(_counts(members)),
        retryable=_some(members, TaskState.FAILED),
        cancellable=_some(members, *ACTIVE),
        then=_following(then_task) if then_task else None,
        then_job=then_job,
        then_when=_when(condition, ended=batch.ended_at is not None),
        links=links[0],
        more_links=links[1],
        coming=tuple(_following(link) for link in coming[:LINKS_SHOWN]),
        missing=(*bar.missing, *budget.missing),
    )


def _row(batch: Batch, bar: StatusBar) -> BatchRow:
    status, glyph = _status(batch)
    total = batch.total + len(batch.links or ())
    done = batch.finished + batch.failed + batch.cancelled
    took_ms = (batch.ended_at - batch.created_at).total_seconds() * 1_000 if batch.ended_at else None
    return BatchRow(
        id=str(batch.id),
        kind=kind(batch),
        title=title(batch),
        status=status,
        glyph=glyph,
        parts=_parts(batch, total),
        percent=round(100 * done / total) if total else 100,
        done=f"{formats.number(done)} of {formats.number(total)}" if total else "no members",
        failed=formats.number(batch.failed),
        cancelled=formats.number(batch.cancelled),
        enqueued=formats.moment(batch.created_at, bar.now),
        took=formats.run_time(took_ms),
    )


def _status(batch: Batch) -> tuple[str, str]:
    """A word, and the name of its glyph."""
    if batch.ended_at is not None:
        clean = batch.failed + batch.cancelled == 0
        return "ended", TaskState.FINISHED.value if clean else TaskState.FAILED.value
    if batch.active:
        return "in progress", TaskState.IN_PROGRESS.value
    return "stopped", "needs-you"


def _parts(batch: Batch, total: int) -> tuple[Part, ...]:
    found, x = [], 0.0
    for number, state in (
        (batch.finished, "finished"),
        (batch.failed, "failed"),
        (batch.cancelled, "retried"),
    ):
        width = 100 * number / total if total else 0
        if width:
            found.append(Part(round(x, 2), round(width, 2), state))
        x += width
    return tuple(found)


def _sentence(batch: Batch, row: BatchRow, bar: StatusBar) -> str:
    if batch.ended_at is not None:
        return f"Ended {formats.moment(batch.ended_at, bar.now).age}, after {row.took}."
    if batch.active:
        return ""
    if batch.failed + batch.cancelled == 0:
        return "It has stopped: its current job was deleted. Restore that job to continue."
    what = "the next link is" if batch.links is not None else "what follows is"
    return f"It has stopped: {what} enqueued once the failed jobs have finished. Retry them to continue."


def _figures(batch: Batch) -> tuple[tuple[str, str], ...]:
    return (
        ("members" if batch.links is None else "links so far", formats.number(batch.total)),
        ("waiting or running", formats.number(batch.active)),
        ("finished", formats.number(batch.finished)),
        ("failed", formats.number(batch.failed)),
        ("cancelled", formats.number(batch.cancelled)),
    )


def _counts(members: Mapping[TaskState, int]) -> Sequence[MemberCount]:
    return [
        MemberCount(VIEWS[state], formats.number(members[state]), members[state] > 0)
        for state in VIEWS
        if state in members
    ]


def _some(members: Mapping[TaskState, int], *states: TaskState) -> str:
    number = sum(members.get(state, 0) for state in states)
    return formats.number(number) if number else ""


def _when(condition: str, *, ended: bool) -> str:
    if ended:
        return "It was enqueued, and has been deleted since."
    if condition == "success":
        return "It is enqueued when every member has finished."
    return "It is enqueued when every member is finished, failed or cancelled."


def _following(task: Mapping[str, Any]) -> Following:
    return Following(named(str(task.get("task_type") or "")), summary(task.get("metadata")))


def _links(session: Session, batch: Batch, bar: StatusBar) -> tuple[tuple[JobRow, ...], str]:
    if batch.links is None:
        return (), ""
    tasks: Sequence[Task] = report.links_of(session, batch.id, LINKS_SHOWN)
    rest = batch.total - len(tasks)
    return job_rows(session, tasks, bar.now), formats.plural(rest, "earlier link") if rest > 0 else ""
