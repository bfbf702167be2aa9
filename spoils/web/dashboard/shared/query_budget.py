"""Reading a page in parts: one that the database takes too long for is left out, and the page says so."""

import logging
from collections.abc import Callable
from typing import TypeVar

from psycopg2 import errorcodes
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

log = logging.getLogger("spoils.web")

HURRIED_MS = 500
"""After the first part that took too long, so long for each of the others: a page must not add its waits up."""

Part = TypeVar("Part")


class Patience:
    """Remembers which parts of one page were left out."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.missing: list[str] = []

    def read(self, name: str, part: Callable[[], Part]) -> Part | None:
        """What `part` returns, or None where the statement timeout ended it."""
        try:
            if self.missing:
                self._session.execute(text(f"SET LOCAL statement_timeout = {HURRIED_MS}"))
            return part()
        except DBAPIError as exc:
            if getattr(exc.orig, "pgcode", None) != errorcodes.QUERY_CANCELED:
                raise
            self._session.rollback()
            self.missing.append(name)
            log.warning("Left out of a page, for it took too long: %s", name, extra={"action": "answer"})
            return None
