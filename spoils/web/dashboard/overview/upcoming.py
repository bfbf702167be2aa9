"""What comes next within 24 hours: ticks, what was set for later, and retries."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from spoils.job.cron import Cron, CronError
from spoils.models import Pause, Schedule, TaskState
from spoils.reports.upcoming import STEP_SECONDS, STEPS, Later
from spoils.web.dashboard.overview.ranges import Range
from spoils.web.dashboard.shared import chart, cron_words, formats

DAY = timedelta(hours=24)
STEP = timedelta(seconds=STEP_SECONDS)
LISTED = 8
HEIGHT = 28
_AXIS = Range("next", "", timedelta(hours=1), 24, timedelta(hours=6))


@dataclass(frozen=True, slots=True)
class Line:
    """Something that comes: its name, which may link to a list, and the words around it.

    The list has others too, so what is counted here is no part of the link.
    """

    due: formats.Moment | None
    until: formats.Moment | None
    before: str
    name: str
    after: str
    task_type: str | None
    state: str | None


@dataclass(frozen=True, slots=True)
class Coming:
    """Three lanes over a day, and what is in them as lines, the soonest first."""

    ticks: str
    scheduled: str
    retries: str
    marks: tuple[chart.Mark, ...]
    lines: tuple[Line, ...]
    more: int
    at_most: int | None
    """How many of a type were looked at, where there may be more."""


def coming(
    schedules: Sequence[Schedule],
    paused: Mapping[str, Pause],
    later: Sequence[Later],
    now: datetime,
    *,
    at_most: int | None = None,
) -> Coming:
    """All of it as seen at `now`; schedules that are paused have no ticks.

    `at_most` says how many of a type are in `later`, where those may not be all.
    """
    ticks = [(schedule, list(_ticks(schedule, now))) for schedule in schedules if schedule.job not in paused]
    soon = [each for each in later if each.step < STEPS]
    # Of many only the soonest are written out.
    lines: list[tuple[datetime, Callable[[], Line]]] = [
        *((slots[0], partial(_tick_line, schedule, slots[0], now)) for schedule, slots in ticks if slots),
        *((run[0].first, partial(_group_line, run, now)) for run in _groups(soon)),
    ]
    lines.sort(key=lambda each: each[0])
    return Coming(
        ticks=_tick_lane([slot for _, slots in ticks for slot in slots], now),
        scheduled=_lane(soon, TaskState.NEW),
        retries=_lane(soon, TaskState.RETRIED),
        marks=_marks(now),
        lines=tuple(line() for _, line in lines[:LISTED]),
        more=max(len(lines) - LISTED, 0),
        at_most=at_most,
    )


def _ticks(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    """The first tick of each step: as many as there are steps at most, however many ticks a day has."""
    try:
        cron = Cron(schedule.cron, schedule.zone)
    except CronError:
        return  # of a release that knew this zone
    slot = cron.next_after(now)
    while slot <= now + DAY:
        yield slot
        # A tick at the very beginning of the next step is part of it.
        slot = cron.next_after(now + ((slot - now) // STEP + 1) * STEP - timedelta(microseconds=1))


def _tick_lane(slots: Sequence[datetime], now: datetime) -> str:
    first: dict[int, datetime] = {}
    for slot in sorted(slots):
        first.setdefault((slot - now) // STEP, slot)
    return "".join(f"M{_x(slot, now):.0f} 6v22" for slot in first.values())


def _x(moment: datetime, now: datetime) -> float:
    return (moment - now) / DAY * chart.WIDTH


def _lane(later: Sequence[Later], state: TaskState) -> str:
    counts = [0] * STEPS
    for each in later:
        if each.state is state:
            counts[each.step] += each.count
    top = max(counts) or 1
    width = chart.WIDTH / STEPS
    # A single one must be seen beside a thousand.
    return "".join(
        f"M{at * width:.0f} {HEIGHT}v-{max(count / top * (HEIGHT - 4), 3):.0f}h{width * 0.8:.0f}V{HEIGHT}z"
        for at, count in enumerate(counts)
        if count
    )


def _marks(now: datetime) -> tuple[chart.Mark, ...]:
    ahead = _AXIS.marks(now + DAY - timedelta(hours=1))
    shift = (_AXIS.since(now + DAY - timedelta(hours=1)) - now) / DAY * 100
    return tuple(
        chart.Mark(round(each.at + shift, 2), each.text, each.iso) for each in ahead if each.at + shift > 10
    )


def _tick_line(schedule: Schedule, slot: datetime, now: datetime) -> Line:
    words = cron_words.describe(schedule.cron)
    text = f"{formats.one_line(schedule.task_type)}, {words[0].lower()}{words[1:]}"
    return Line(formats.moment(slot, now), None, "", text, "", None, None)


def _groups(later: Sequence[Later]) -> Iterator[list[Later]]:
    """Steps of one type and state that follow each other are one group."""
    by_kind: dict[tuple[str, TaskState], list[Later]] = {}
    for each in later:
        by_kind.setdefault((each.task_type, each.state), []).append(each)
    for steps in by_kind.values():
        run = [steps[0]]
        for each in steps[1:]:
            if each.step - run[-1].step > 1:
                yield run
                run = []
            run.append(each)
        yield run


def _group_line(run: Sequence[Later], now: datetime) -> Line:
    count, state = sum(each.count for each in run), run[0].state
    name = formats.shortened(formats.one_line(run[0].task_type), 60)
    if state is TaskState.RETRIED:
        before, after = f"{formats.counted(count, 'retry', 'retries')} of ", ""
    else:
        before, after = f"{formats.number(count)} ", " set for later"
    first, last = run[0].first, max(each.last for each in run)
    until = formats.moment(last, now) if last - first > timedelta(seconds=60) else None
    return Line(formats.moment(first, now), until, before, name, after, run[0].task_type, state.value)
