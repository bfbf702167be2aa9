"""Cron expressions of every kind, and what they mean told by trying each local time there is."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MOST_SHIFT = timedelta(hours=4)
"""No clock moves by more at once."""


@dataclass(frozen=True)
class Field:
    """One field: its text, and the numbers that it stands for."""

    text: str
    numbers: frozenset[int]

    @property
    def starry(self) -> bool:
        return self.text.startswith("*")


@dataclass(frozen=True)
class Crontab:
    """An expression whose meaning is known."""

    seconds: Field | None
    minutes: Field
    hours: Field
    days: Field
    months: Field
    weekdays: Field

    def __str__(self) -> str:
        fields = (self.seconds, self.minutes, self.hours, self.days, self.months, self.weekdays)
        return " ".join(field.text for field in fields if field)

    @property
    def fixed(self) -> bool:
        """Whether it stands at fixed local times, and does not follow elapsed time."""
        return self.seconds is None and "*" not in self.minutes.text + self.hours.text

    @property
    def possible(self) -> bool:
        """Whether any of its days is in any of its months, as the 30th of February is not."""
        if not (self.days.starry or self.weekdays.starry):
            return True
        return any(day <= LONGEST[month - 1] for month in self.months.numbers for day in self.days.numbers)

    def slots(self, zone: str, after: datetime, until: datetime, most: int) -> list[datetime]:
        """The first slots after `after` and not after `until`, in UTC."""
        tz = ZoneInfo(zone)
        found: set[datetime] = set()
        enough: datetime | None = None
        last = until.astimezone(tz).replace(tzinfo=None) + MOST_SHIFT
        for wall in self._walls(after.astimezone(tz).replace(tzinfo=None) - MOST_SHIFT, last):
            if enough and wall > enough:
                break
            moments = [_first(wall, tz)] if self.fixed else _all(wall, tz)
            found.update(moment for moment in moments if after < moment <= until)
            if enough is None and len(found) >= most:
                # An hour that comes twice may still bring an earlier one.
                enough = wall + MOST_SHIFT
        return sorted(found)[:most]

    def _walls(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """Each local time that fits, in the order of the clock on the wall."""
        either = not (self.days.starry or self.weekdays.starry)
        seconds = sorted(self.seconds.numbers) if self.seconds else [0]
        times = [
            (hour, minute) for hour in sorted(self.hours.numbers) for minute in sorted(self.minutes.numbers)
        ]
        day = begin.replace(hour=0, minute=0, second=0, microsecond=0)
        while day <= end:
            of_month, of_week = day.day in self.days.numbers, day.isoweekday() % 7 in self.weekdays.numbers
            if day.month in self.months.numbers and (of_month or of_week if either else of_month and of_week):
                for hour, minute in times:
                    if day + timedelta(hours=hour, minutes=minute + 1) < begin:
                        continue
                    for second in seconds:
                        yield day.replace(hour=hour, minute=minute, second=second)
            day += timedelta(days=1)


def any_crontab(dice: random.Random) -> Crontab:
    """One of any shape that the guide allows: stars, numbers, ranges, steps, lists, names."""
    return Crontab(
        seconds=_field(dice, 0, 59) if dice.random() < 0.3 else None,
        minutes=_field(dice, 0, 59),
        hours=_field(dice, 0, 23),
        days=_field(dice, 1, 31, star=0.5),
        months=_field(dice, 1, 12, star=0.6, names=MONTHS),
        weekdays=_field(dice, 0, 6, star=0.5, names=WEEKDAYS),
    )


def crontab(expression: str) -> Crontab:
    """One of five or six fields, each of numbers, ranges, steps and stars."""
    *seconds, minutes, hours, days, months, weekdays = expression.split()
    return Crontab(
        seconds=_read(seconds[0], 0, 59) if seconds else None,
        minutes=_read(minutes, 0, 59),
        hours=_read(hours, 0, 23),
        days=_read(days, 1, 31),
        months=_read(months, 1, 12),
        weekdays=_read(weekdays, 0, 6),
    )


def changes(zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """The moments (to the second) at which the zone's clocks move."""
    tz = ZoneInfo(zone)
    found = []
    # No zone moves its clock twice within three days.
    edges = [begin + timedelta(days=3 * number) for number in range((end - begin).days // 3 + 1)]
    for low, high in pairwise(edges):
        if low.astimezone(tz).utcoffset() == high.astimezone(tz).utcoffset():
            continue
        offset = low.astimezone(tz).utcoffset()
        while high - low > timedelta(seconds=1):
            middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
            low, high = (middle, high) if middle.astimezone(tz).utcoffset() == offset else (low, middle)
        found.append(high)
    return found


def _read(text: str, low: int, high: int) -> Field:
    numbers: set[int] = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        begin = low if span == "*" else int(first)
        end = int(last) if last else high if span == "*" or step else begin
        numbers.update(range(begin, end + 1, int(step or 1)))
    return Field(text, frozenset(numbers))


def _field(
    dice: random.Random, low: int, high: int, star: float = 0.3, names: list[str] | None = None
) -> Field:
    kind = dice.random()
    if kind < star:
        return Field("*", frozenset(range(low, high + 1)))
    if kind < star + 0.15:
        step = dice.randint(1, max(2, (high - low) // 2))
        return Field(f"*/{step}", frozenset(range(low, high + 1, step)))
    terms = [_term(dice, low, high, names) for _ in range(dice.choice([1, 1, 1, 2, 3]))]
    return Field(",".join(term.text for term in terms), frozenset().union(*(term.numbers for term in terms)))


def _term(dice: random.Random, low: int, high: int, names: list[str] | None) -> Field:
    first = dice.randint(low, high)
    last = dice.randint(first, high)
    step = dice.randint(1, 7)

    def told(number: int) -> str:
        return (
            dice.choice([names[number - low], names[number - low].lower()])
            if names and dice.random() < 0.3
            else str(number)
        )

    match dice.choice(["number", "number", "range", "range with a step", "from"]):
        case "number":
            return Field(told(first), frozenset([first]))
        case "range":
            return Field(f"{told(first)}-{told(last)}", frozenset(range(first, last + 1)))
        case "range with a step" if first < last:
            return Field(f"{told(first)}-{told(last)}/{step}", frozenset(range(first, last + 1, step)))
        case _:
            # A Sunday is 0 and 7 to cron, so "from" goes up to 7 there.
            upto = 7 if names is WEEKDAYS else high
            numbers = range(first, upto + 1, step)
            return Field(
                f"{told(first)}/{step}", frozenset(n % 7 if names is WEEKDAYS else n for n in numbers)
            )


def _all(wall: datetime, tz: ZoneInfo) -> list[datetime]:
    """Every moment at which a clock on the wall shows this: none, one or two."""
    moments = {wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return [moment for moment in moments if moment.astimezone(tz).replace(tzinfo=None, fold=0) == wall]


def _first(wall: datetime, tz: ZoneInfo) -> datetime:
    """The first moment at which a clock on the wall shows this or, where it skips it, the first that it shows after."""
    while not (moments := _all(wall, tz)):
        wall += timedelta(minutes=1)
    return min(moments)
