"""PostgreSQL's arrays as one text each: of a list the driver would quote every item by itself."""

from collections.abc import Iterable


def plain(items: Iterable[object]) -> str:
    """The array of what needs no quotes: numbers, ids, and NULL where an item is None."""
    return f"{{{','.join(['NULL' if item is None else str(item) for item in items])}}}"


def quoted(items: Iterable[str | None]) -> str:
    """The array of any texts; NULL where an item is None."""
    return f"{{{','.join(['NULL' if item is None else _quoted(item) for item in items])}}}"


def _quoted(item: str) -> str:
    escaped = item.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
