"""The Retry-After header, in either of its two spellings."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 3600.0
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


def retry_after_seconds(
    value: str | None, *, date: str | None = None, now: datetime | None = None
) -> float | None:
    """Read the seconds to wait, 0 to an hour; None where upstream did not say.

    A date is measured from the answer's own Date header where it has one, as our clock may be wrong.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_SECONDS)
    until = _moment(text)
    if until is None:
        return None
    since = _moment(date or "") or now or datetime.now(UTC)
    return min(max((until - since).total_seconds(), 0.0), LONGEST_SECONDS)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
