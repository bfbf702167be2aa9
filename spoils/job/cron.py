"""Cron expressions: five fields, or six with seconds first, in a named time zone.

Daylight saving as in Debian's cron: an entry at a fixed time whose hour is skipped in spring runs right after the
gap, and one whose hour comes twice in autumn runs once; entries with a `*` in minute or hour, and six-field
entries, follow elapsed time.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from spoils.errors import SpoilsError

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


FIELDS = "The fields are minute, hour, day of the month, month and day of the week; a sixth, of seconds, comes first."
_EARLY = datetime(2024, 1, 1, tzinfo=UTC)


class CronError(SpoilsError, ValueError):
    """A cron expression or its time zone is wrong."""


class ZoneError(CronError):
    """There is no such time zone."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A valid cron expression in its zone. Moments go in and come out as aware datetimes, the latter in UTC."""

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise ZoneError(f'There is no time zone "{self.zone}"{_meant_zone(self.zone)}') from exc
        try:
            self.next_after(_EARLY)
        except (CronSimError, IndexError, ValueError) as exc:
            hint = _meant_order(self.expression) or FIELDS
            raise CronError(f'"{self.expression}" is not a cron expression: {exc}. {hint}') from exc
        except StopIteration:
            raise CronError(f'"{self.expression}" never comes due.') from None

    def next_after(self, moment: datetime) -> datetime:
        """The first tick later than `moment`."""
        return next(self._ticks(moment))

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """The next `count` ticks after `moment`."""
        ticks = self._ticks(moment)
        return [next(ticks) for _ in range(count)]

    def due_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Every tick with after < tick <= until, oldest first."""
        for tick in self._ticks(after):
            if tick > until:
                return
            yield tick

    def count_in_a_day(self, after: datetime) -> int:
        """The number of ticks in the 24 hours after `after`: reckoned, where the clock does not move."""
        zone, until = ZoneInfo(self.zone), after + _DAY
        if _offset(zone, after) != _offset(zone, until):
            return sum(1 for _ in self.due_between(after, until))
        sim, begin, end = CronSim(self.expression, _EARLY), after.astimezone(zone), until.astimezone(zone)
        first, last = (day.month in sim.months and sim.match_day(day) for day in (begin.date(), end.date()))
        times = len(sim.hours) * len(sim.minutes) * len(sim.seconds)
        if first == last:
            return times if first else 0
        now = (begin.hour, begin.minute, begin.second)
        still_to_come = sum(each > now for each in product(sim.hours, sim.minutes, sim.seconds))
        return still_to_come if first else times - still_to_come

    def explain(self) -> str:
        """The expression in plain English words."""
        return str(CronSim(self.expression, _EARLY).explain())

    def _ticks(self, moment: datetime) -> Iterator[datetime]:
        zone = ZoneInfo(self.zone)
        sim = CronSim(self.expression, moment.astimezone(zone))
        fixed = sim.fixup_tz is not None
        last = moment
        for found in sim if fixed else _elapsed(self.expression, zone, moment):
            tick = found.astimezone(UTC)
            # In the hour that comes twice, local order and true order differ; a tick never goes back.
            if tick > last:
                last = tick
                yield tick


def _elapsed(expression: str, zone: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """The ticks of an entry that follows elapsed time: each instant whose local time fits.

    CronSim steps by local hours, and so passes over ticks where the clock moves by half an hour (Lord Howe), or at
    midnight. Here it sees no zone: one stretch of equal offset after the other.
    """
    after = moment.astimezone(UTC).replace(microsecond=0)
    stretch = True
    while stretch:
        stretch = False
        offset = _offset(zone, after + _SECOND)
        for wall in CronSim(expression, (after + offset).replace(tzinfo=None)):
            tick = wall.replace(tzinfo=UTC) - offset
            if change := _change(zone, after + _SECOND, tick):
                after, stretch = change - _SECOND, True
                break
            after = tick
            yield tick


def _change(zone: ZoneInfo, begin: datetime, end: datetime) -> datetime | None:
    """The first second after `begin` and not after `end` at which the zone's offset is another one."""
    offset = _offset(zone, begin)
    while begin < end:
        later = min(begin + _DAY, end)
        if _offset(zone, later) != offset:
            while later - begin > _SECOND:
                middle = begin + (later - begin) // _SECOND // 2 * _SECOND
                begin, later = (middle, later) if _offset(zone, middle) == offset else (begin, middle)
            return later
        begin = later
    return None


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _meant_zone(name: str) -> str:
    """What follows a name that is no zone: the zone of that city or of a similar name, if there is one."""
    given = name[:100].strip().replace(" ", "_").casefold()
    zones = {zone.casefold(): zone for zone in sorted(available_timezones())}
    cities = [zone for folded, zone in zones.items() if folded.rpartition("/")[2] == given]
    close = [zones[folded] for folded in difflib.get_close_matches(given, zones, n=1, cutoff=0.8)]
    meant = [*cities, *close]
    return f". Did you mean {meant[0]}?" if given and meant else "; a name such as Europe/Berlin is needed."


def _meant_order(expression: str) -> str:
    """The expression with its first two fields exchanged, if that makes it a valid one: the hour was written first."""
    fields = expression.split()
    if len(fields) != 5:
        return ""
    exchanged = " ".join([fields[1], fields[0], *fields[2:]])
    try:
        next(CronSim(exchanged, _EARLY))
    except (CronSimError, IndexError, ValueError, StopIteration):
        return ""
    return f'The minute comes before the hour. Did you mean "{exchanged}"?'
