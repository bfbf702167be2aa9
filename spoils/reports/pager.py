"""Keyset pagination in both directions: the one place that makes the WHERE and ORDER BY of a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, tuple_

Row = TypeVar("Row")
Key = TypeVar("Key", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class Page(Generic[Row, Key]):
    """One page, and the keys of the pages before (`newer`) and after it (`older`)."""

    rows: Sequence[Row]
    newer: Key | None
    older: Key | None


@dataclass(frozen=True, slots=True)
class Cursor(Generic[Key]):
    """Where a page starts: at the first row, after `older_than`, or backwards from `newer_than`.

    The newest row is the first one; if `ascending`, the one with the least key.
    """

    older_than: Key | None = None
    newer_than: Key | None = None
    ascending: bool = False

    @property
    def backwards(self) -> bool:
        """Whether the page goes back towards the first row."""
        return self.newer_than is not None

    @property
    def rising(self) -> bool:
        """Whether the page reads rows with rising keys."""
        return self.backwards != self.ascending

    def rows_of(
        self, statement: Select[Any], *key: Any, value: Callable[[Key], Any] = lambda key: tuple_(*key)
    ) -> Select[Any]:
        """The rows of `statement` from here on, the nearest first; `value` is the SQL of a key."""
        columns: ColumnElement[Any] = tuple_(*key)
        for start in (self.older_than, self.newer_than):
            if start is not None:
                statement = statement.where(columns > value(start) if self.rising else columns < value(start))
        return self.ordered(statement, *key)

    def ordered(self, statement: Select[Any], *key: Any) -> Select[Any]:
        """The rows of `statement`, the nearest first."""
        return statement.order_by(*(key if self.rising else [column.desc() for column in key]))

    def page(self, found: Sequence[Row], limit: int, key: Callable[[Row], Key]) -> Page[Row, Key]:
        """The page of the rows found, which are one more than `limit` if there are more."""
        more = len(found) > limit
        rows = found[:limit][::-1] if self.backwards else found[:limit]
        first, last = (key(rows[0]), key(rows[-1])) if rows else (None, None)
        return Page(
            rows,
            newer=(first or self.older_than) if self.older_than or (self.backwards and more) else None,
            older=last if self.backwards or more else None,
        )
