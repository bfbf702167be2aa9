"""Cron expressions: five fields, or six with seconds first, in a named time zone.

Daylight saving as in Debian's cron: an entry at a fixed time whose hour is skipped in spring runs right after the
gap, and one whose hour comes twice in autumn runs once; entries with a `*` in minute or hour, and six-field
entries, follow elapsed time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from spoils.errors import SpoilsError


class CronError(SpoilsError, ValueError):
    """A cron expression or its time zone is wrong."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A valid cron expression in its zone. Moments go in and come out as aware datetimes, the latter in UTC."""

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise CronError(
                f'There is no time zone "{self.zone}"; a name such as Europe/Berlin is needed.'
            ) from exc
        try:
            self.next_after(datetime(2024, 1, 1, tzinfo=UTC))
        except (CronSimError, IndexError) as exc:
            raise CronError(f'"{self.expression}" is no cron expression: {exc}.') from exc
        except StopIteration:
            raise CronError(f'"{self.expression}" never comes due.') from None

    def next_after(self, moment: datetime) -> datetime:
        """The first slot later than `moment`."""
        return next(self._slots(moment))

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """The next `count` slots after `moment`."""
        slots = self._slots(moment)
        return [next(slots) for _ in range(count)]

    def due_between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Every slot with after < slot <= until, oldest first."""
        for slot in self._slots(after):
            if slot > until:
                return
            yield slot

    def explain(self) -> str:
        """The expression in plain English words."""
        return str(CronSim(self.expression, datetime(2024, 1, 1, tzinfo=UTC)).explain())

    def _slots(self, moment: datetime) -> Iterator[datetime]:
        local = moment.astimezone(ZoneInfo(self.zone))
        last = moment
        for slot in CronSim(self.expression, local):
            # In the hour that comes twice, local order and true order differ; a slot never goes back.
            if (slot_utc := slot.astimezone(UTC)) > last:
                last = slot_utc
                yield slot_utc
