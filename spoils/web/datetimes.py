"""Parsing times that a client sends."""

from datetime import UTC, datetime


def utc(text: str) -> datetime:
    """The moment of a text in ISO 8601 with a time zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("A time zone is required.")
    return in_utc(moment)


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC: Python allows offsets that PostgreSQL refuses. Raises ValueError."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("The time is outside the years 1 to 9999.") from exc
