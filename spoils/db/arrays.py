"""PostgreSQL's arrays as one text each: the driver would quote every item of a list one by one."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, Text, bindparam, cast
from sqlalchemy.sql.elements import ColumnElement


def parameter(name: str, kind: Any) -> ColumnElement[Any]:
    """The parameter of a statement that takes such a text, as an array of items of that type."""
    return cast(bindparam(name, type_=Text), ARRAY(kind))


def plain(items: Iterable[object]) -> str:
    """The array of what needs no quotes: numbers, ids, and NULL where an item is None."""
    return f"{{{','.join(['NULL' if item is None else str(item) for item in items])}}}"


def quoted(items: Iterable[str | None]) -> str:
    """The array of any texts; NULL where an item is None."""
    return f"{{{','.join(['NULL' if item is None else _quoted(item) for item in items])}}}"


def _quoted(item: str) -> str:
    escaped = item.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
