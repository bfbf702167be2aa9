"""The timeline of a job: when it waited, when it ran, and when it is due."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from spoils.job.outcome import Ending
from spoils.masking import masked_text
from spoils.models import WAITING, Attempt, Step, Task, TaskState
from spoils.reports.run_times import finished_ms, running_ms
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.chart import Mark

DRAWN = 12
"""The number of attempts drawn, the last ones; earlier ones would be too narrow to see."""
MARKS = 8
_STEPS = [1, 5, 15, 60, 300, 900, 3_600, 10_800, 21_600, 86_400, 604_800, 2_592_000, 31_536_000]
LABEL = 14
"""The share of the width, in per cent, that the label of an attempt takes on a wide page."""
_MARGIN = 0.12
"""The share of the width beyond the last known moment, for the future."""


@dataclass(frozen=True, slots=True)
class Span:
    """An attempt: its place and width in per cent, and its label."""

    x: float
    width: float
    state: str
    title: str
    words: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A step: its place in per cent, and its label."""

    x: float
    title: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The drawing, in per cent of its width."""

    begin: float
    now: float
    """The end of the line that stands for the past."""
    due: float | None
    ends: bool
    spans: tuple[Span, ...]
    labelled: frozenset[int]
    """The places of the spans that have a label."""
    steps: tuple[Dot, ...]
    marks: tuple[Mark, ...]
    now_mark: Mark | None
    sentence: str


def draw_timeline(
    task: Task, ended: Sequence[Attempt], now: datetime, steps: Sequence[Step] = ()
) -> Timeline | None:
    """The timeline of `task` with the attempts `ended` and its `steps`; None if its timestamps are infinite."""
    ran = _runs(task, ended, now)
    over = task.state in (TaskState.FINISHED, TaskState.FAILED)
    last = max([task.updated_at, *(each.until for each in ran)]) if over else now
    waits = task.state in WAITING and task.scheduled_at > now
    far = task.scheduled_at if waits else last
    first = min([task.created_at, *(each.since for each in ran)])
    if not (first.year > 1 and far.year < 9999):
        return None
    whole = max(far - first, timedelta(seconds=0.5)) * (1 + _MARGIN)

    def at(moment: datetime) -> float:
        return round((moment - first) / whole * 96 + 2, 2)

    spans = tuple(
        Span(
            x=at(each.since),
            width=max(round((each.until - each.since) / whole * 96, 2), 0.25),
            state=each.state,
            title=f"Attempt {each.attempt}",
            words=f"ran {formats.run_time(each.ran_ms)}" if each.ran_ms is not None else "",
        )
        for each in ran
    )
    return Timeline(
        begin=at(task.created_at),
        now=at(last),
        due=at(task.scheduled_at) if waits else None,
        ends=over,
        spans=spans,
        labelled=labelled(spans),
        steps=tuple(
            Dot(at(each.done_at), f"Step {formats.one_line(masked_text(each.name))}, attempt {each.attempt}")
            for each in steps
            if first <= each.done_at <= last
        ),
        marks=_marks(first, first + whole, at),
        now_mark=None if over else Mark(at(now), f"now {now:%H:%M:%S}", now.isoformat(timespec="seconds")),
        sentence=_sentence(task, ran, now),
    )


def labelled(spans: Sequence[Span]) -> frozenset[int]:
    """The places of the spans whose labels fit, the last ones first: they stand above and below the line in turn."""
    free = [200.0, 200.0]
    found = []
    for place in reversed(range(len(spans))):
        if spans[place].x + LABEL <= free[place % 2]:
            free[place % 2] = spans[place].x
            found.append(place)
    return frozenset(found)


class _Run(NamedTuple):
    """An attempt; if its run time is unknown, it is drawn up to its end."""

    since: datetime
    until: datetime
    state: str
    attempt: int
    ran_ms: float | None


def _runs(task: Task, ended: Sequence[Attempt], now: datetime) -> list[_Run]:
    found: list[_Run] = []
    for each in reversed(ended[:DRAWN]):
        if each.claimed_at is None:
            continue
        released = each.outcome in (Ending.RELEASED, Ending.SNOOZED)
        state = TaskState.NEW if released else TaskState.FAILED
        ran = timedelta(milliseconds=max(each.ran_ms, 0)) if each.ran_ms is not None else None
        until = each.claimed_at + ran if ran is not None else max(each.ended_at, each.claimed_at)
        found.append(_Run(each.claimed_at, until, state.value, each.attempt, each.ran_ms))
    runs = task.state is TaskState.IN_PROGRESS
    ran_ms = running_ms(task, now) if runs else finished_ms(task)
    if ran_ms is not None:
        until = now if runs else task.updated_at
        since = min(task.claimed_at or task.updated_at, until)
        found.append(_Run(since, until, task.state.value, task.attempts, ran_ms))
    return found


def _marks(first: datetime, last: datetime, at: Callable[[datetime], float]) -> tuple[Mark, ...]:
    seconds = (last - first).total_seconds()
    step = next((each for each in _STEPS if seconds / each <= MARKS), _STEPS[-1] * 100)
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    moment = epoch + timedelta(seconds=-(-(first - epoch).total_seconds() // step) * step)
    marks = []
    while moment < last:
        text = f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}"
        if step >= 86_400:
            text = f"{moment.day} {moment:%b}"
        share = at(moment)
        if 3 < share < 96:
            marks.append(Mark(share, text, moment.isoformat(timespec="seconds") if step >= 60 else ""))
        moment += timedelta(seconds=step)
    return tuple(marks)


def _sentence(task: Task, ran: Sequence[_Run], now: datetime) -> str:
    words = [f"Enqueued {formats.moment(task.created_at, now).full}"]
    for each in ran:
        words_of_state = {"failed": "failed", "finished": "finished", "in_progress": "running"}
        word = words_of_state.get(each.state, "released")
        after = "" if each.ran_ms is None else f" after {formats.run_time(each.ran_ms)}"
        words.append(f"attempt {each.attempt} {word}{after}")
    if task.state in WAITING:
        words.append(f"due {formats.moment(task.scheduled_at, now).age}")
    return "; ".join(words) + "."
