"""How pages write numbers, durations and moments. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import overload

MINUTE, HOUR, DAY = 60, 3_600, 86_400
_DIRECTION_MARKS = {
    point: f"\\u{point:04x}" for point in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
}
FOREVER = 100 * 365 * DAY


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time in the forms that a page needs."""

    iso: str
    full: str
    clock: str
    """The time of day, or the day where it is not today's."""
    age: str
    """As "3 min ago" or "in 2 min 28 s"."""
    span: str
    """The distance from now, without "ago" or "in"."""
    future: bool


def number(value: int) -> str:
    """1,162,480"""
    return f"{value:,}"


def plural(value: int, one: str, many: str | None = None) -> str:
    """1 job, 412 jobs; 1 retry, 3 retries where the plural is given."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def run_time(milliseconds: float | None) -> str:
    """412 ms, 1.31 s, 2 min 7 s; a dash if there is none."""
    if milliseconds is None or milliseconds < 0:
        return "–"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1_000
    return f"{seconds:.2f} s" if seconds < MINUTE else span(seconds)


def short_time(milliseconds: float) -> str:
    """3 ms, 0.3 s, 10 s, 3 min: a round run time on an axis."""
    if milliseconds < 100:
        return f"{milliseconds:g} ms"
    if milliseconds < 100_000:
        return f"{milliseconds / 1_000:g} s"
    return span(milliseconds / 1_000)


def compact(value: float) -> str:
    """0.4, 120, 12k: a round number on an axis."""
    if value >= 10_000:
        return f"{value / 1_000:g}k"
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:g}"


def memory(size: int | None) -> str:
    """118 MB; a dash if it is unknown."""
    return "–" if size is None else f"{size / 1_000_000:,.0f} MB"


def percent(part: int, whole: int) -> str:
    """2.8 %; a dash for a share of nothing, and 0 or 100 only where it is exact."""
    if not whole:
        return "–"
    share = part / whole * 100
    if 0 < share < 0.05:
        return "< 0.1 %"
    if 99.95 <= share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %"


def span(seconds: float) -> str:
    """3 s, 2 min 28 s, 11 h 28 min, 2 days: the two largest units at most."""
    whole = int(abs(seconds))
    if whole >= FOREVER:
        return "forever"
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return _two(whole // MINUTE, "min", whole % MINUTE, "s")
    if whole < DAY:
        return _two(whole // HOUR, "h", whole % HOUR // MINUTE, "min")
    return plural(whole // DAY, "day")


def coarse(seconds: float) -> str:
    """The largest unit alone: 3 s, 13 min, 2 h, 4 days."""
    whole = int(abs(seconds))
    if whole >= FOREVER:
        return "∞"
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return f"{whole // HOUR} h"
    return plural(whole // DAY, "day")


@overload
def moment(point: datetime, now: datetime) -> Moment: ...
@overload
def moment(point: datetime | None, now: datetime) -> Moment | None: ...
def moment(point: datetime | None, now: datetime) -> Moment | None:
    """`point` as seen at `now`, which is the database's clock."""
    if point is None:
        return None
    point = point.astimezone(UTC) if _ordinary(point) else point.replace(tzinfo=UTC)
    seconds = (point - now).total_seconds()
    if not _ordinary(point):
        word = "never" if seconds > 0 else "at −∞"
        return Moment(point.isoformat(), word, word, word, word, seconds > 0)
    return Moment(
        iso=point.isoformat(timespec="milliseconds"),
        full=f"{point.day} {point:%b %Y %H:%M:%S} UTC",
        clock=_clock(point, now),
        age=f"in {span(seconds)}" if seconds >= 1 else f"{coarse(seconds)} ago",
        span=span(seconds),
        future=seconds > 0,
    )


def per_minute(count: int, minutes: float) -> str:
    """117; one decimal below ten: 0.4."""
    rate = count / minutes
    return number(round(rate)) if rate >= 10 or rate == round(rate) else f"{rate:.1f}"


def listed(names: Sequence[str], most: int) -> str:
    """The first `most` names, and the number of others."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def shortened(text: str, length: int) -> str:
    """At most `length` characters; an ellipsis marks a cut."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def one_line(text: str) -> str:
    """The text with each run of white space as one space."""
    return " ".join(visible(text).split())


def visible(text: str) -> str:
    """The text with the marks that change the direction of writing as escapes."""
    return text.translate(_DIRECTION_MARKS)


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def _clock(point: datetime, now: datetime) -> str:
    if point.date() == now.date():
        return f"{point:%H:%M:%S}"
    if abs(point - now) < timedelta(days=180):
        return f"{point.day} {point:%b %H:%M}"
    return f"{point.day} {point:%b %Y}"


def _ordinary(point: datetime) -> bool:
    # PostgreSQL's infinities arrive as the first and the last year that Python knows.
    return 1 < point.year < 9999
