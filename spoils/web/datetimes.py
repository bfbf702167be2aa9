"""Moments that a client names. Pure."""

from datetime import UTC, datetime


def utc(text: str) -> datetime:
    """The moment that a text in ISO 8601 names, zone included. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("A moment needs its zone.")
    return in_utc(moment)


def in_utc(moment: datetime) -> datetime:
    """The same moment: Python knows zones of up to 24 h, PostgreSQL refuses one of 16. Raises ValueError."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("The moment is before the first year or after the last.") from exc
