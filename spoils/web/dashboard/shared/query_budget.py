"""Limits the time that the queries of one page take: a slow part is left out, and the page says so."""

import logging
from collections.abc import Callable
from typing import TypeVar

from psycopg2 import errorcodes
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

log = logging.getLogger("spoils.web")

REDUCED_TIMEOUT_MS = 500
"""The statement timeout after the first slow part, so that a page does not wait for one timeout after another."""

Part = TypeVar("Part")


class QueryBudget:
    """Runs the queries of one page and collects the names of the parts that timed out."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.missing: list[str] = []

    def read(self, name: str, part: Callable[[], Part]) -> Part | None:
        """What `part` returns, or None if the statement timeout cancelled it."""
        try:
            if self.missing:
                self._session.execute(text(f"SET LOCAL statement_timeout = {REDUCED_TIMEOUT_MS}"))
            return part()
        except DBAPIError as exc:
            if getattr(exc.orig, "pgcode", None) != errorcodes.QUERY_CANCELED:
                raise
            self._session.rollback()
            self.missing.append(name)
            log.warning("Query timed out, left out of the page: %s", name, extra={"action": "answer"})
            return None
