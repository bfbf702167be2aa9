"""The next 24 hours: ticks of schedules, scheduled jobs, and retries."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from spoils.job.cron import Cron, CronError
from spoils.models import Schedule, TaskState
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
    """An upcoming tick or group of jobs; with a `state`, its name links to the list of that state and type.

    That list may hold more jobs than this line counts, so the count is not part of the link.
    """

    due: formats.Moment
    name: str
    until: formats.Moment | None = None
    before: str = ""
    after: str = ""
    task_type: str | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Upcoming:
    """Three lanes over a day, and their content as a list, the soonest first."""

    ticks: str
    scheduled: str
    retries: str
    marks: tuple[chart.Mark, ...]
    lines: tuple[Line, ...]
    more: int
    at_most: int | None
    """The number of jobs that were read of each type, if there may be more."""


def show_upcoming(
    schedules: Sequence[Schedule],
    later: Sequence[Later],
    now: datetime,
    *,
    at_most: int | None = None,
) -> Upcoming:
    """Everything due in the next 24 hours as seen at `now`; of schedules that are not paused."""
    ticks = _ticks_of_all(schedules, now)
    soon = [each for each in later if each.step < STEPS]
    # Only the soonest lines are rendered.
    lines: list[tuple[datetime, Callable[[], Line]]] = [
        *((of[0], partial(_tick_line, schedule, of[0], now)) for schedule, of in ticks if of),
        *((run[0].first, partial(_group_line, run, now)) for run in _groups(soon)),
    ]
    lines.sort(key=lambda each: each[0])
    return Upcoming(
        ticks=_tick_lane([tick for _, of in ticks for tick in of], now),
        scheduled=_lane(soon, TaskState.NEW),
        retries=_lane(soon, TaskState.RETRIED),
        marks=_marks(now),
        lines=tuple(line() for _, line in lines[:LISTED]),
        more=max(len(lines) - LISTED, 0),
        at_most=at_most,
    )


def _ticks_of_all(schedules: Sequence[Schedule], now: datetime) -> list[tuple[Schedule, Sequence[datetime]]]:
    """The ticks of each schedule. Once the lane has a mark in each step, of the others only the next one."""
    marked: set[int] = set()
    by_cron: dict[tuple[str, str], Sequence[datetime]] = {}
    for schedule in schedules:
        key = (schedule.cron, schedule.zone)
        if key not in by_cron:
            by_cron[key] = list(islice(_ticks(schedule, now), 1 if len(marked) >= STEPS else None))
            marked |= {(tick - now) // STEP for tick in by_cron[key]}
    return [(schedule, by_cron[schedule.cron, schedule.zone]) for schedule in schedules]


def _ticks(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    """The first tick in each step, so at most as many as there are steps, however often the schedule ticks."""
    try:
        cron = Cron(schedule.cron, schedule.zone)
    except CronError:
        return  # of a release that knew this zone
    tick = cron.next_after(now)
    while tick <= now + DAY:
        yield tick
        # A tick at the very beginning of the next step belongs to that step.
        tick = cron.next_after(now + ((tick - now) // STEP + 1) * STEP - timedelta(microseconds=1))


def _tick_lane(ticks: Sequence[datetime], now: datetime) -> str:
    first: dict[int, datetime] = {}
    for tick in sorted(ticks):
        first.setdefault((tick - now) // STEP, tick)
    return "".join(f"M{(tick - now) / DAY * chart.WIDTH:.0f} 6v22" for tick in first.values())


def _lane(later: Sequence[Later], state: TaskState) -> str:
    counts = [0] * STEPS
    for each in later:
        if each.state is state:
            counts[each.step] += each.count
    top = max(counts) or 1
    width = chart.WIDTH / STEPS
    # A single job must be visible beside a thousand.
    return "".join(
        f"M{at * width:.0f} {HEIGHT}v-{max(count / top * (HEIGHT - 4), 3):.0f}h{width * 0.8:.0f}V{HEIGHT}z"
        for at, count in enumerate(counts)
        if count
    )


def _marks(now: datetime) -> tuple[chart.Mark, ...]:
    marks = _AXIS.marks(now + DAY - timedelta(hours=1))
    shift = (_AXIS.since(now + DAY - timedelta(hours=1)) - now) / DAY * 100
    return tuple(
        chart.Mark(round(each.at + shift, 2), each.text, each.iso) for each in marks if each.at + shift > 10
    )


def _tick_line(schedule: Schedule, tick: datetime, now: datetime) -> Line:
    words = cron_words.describe(schedule.cron)
    named = f" ({schedule.name})" if schedule.name else ""
    text = f"{formats.one_line(schedule.task_type)}{named}, {words[0].lower()}{words[1:]}"
    times = Cron(schedule.cron, schedule.zone).count_in_a_day(now)
    return Line(formats.moment(tick, now), text, after=f", {times:,} times" if times > 1 else "")


def _groups(later: Sequence[Later]) -> Iterator[list[Later]]:
    """Adjacent steps of one type and state form one group."""
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
    retries = state is TaskState.RETRIED
    first, last = run[0].first, max(each.last for each in run)
    return Line(
        due=formats.moment(first, now),
        until=formats.moment(last, now) if last - first > timedelta(seconds=60) else None,
        before=f"{formats.plural(count, 'retry', 'retries')} of " if retries else f"{formats.number(count)} ",
        name=formats.shortened(formats.one_line(run[0].task_type), 60),
        after="" if retries else " scheduled",
        task_type=run[0].task_type,
        state=state.value,
    )
