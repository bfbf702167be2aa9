"""The API tokens as the page shows them, and what its form takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from spoils.queue import api_tokens
from spoils.queue.api_tokens import Scope
from spoils.users import NAME
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.query_budget import QueryBudget
from spoils.web.dashboard.shared.status_bar import StatusBar

MOST_DAYS = 3650
SCOPES = (
    (Scope.READ, "all GET calls, such as jobs, schedules and metrics"),
    (Scope.ENQUEUE, "enqueue jobs"),
    (Scope.ADMIN, "every call"),
)


class InvalidForm(Exception):
    """The form cannot be taken; the message says why."""


@dataclass(frozen=True, slots=True)
class Form:
    """A token to make."""

    name: str
    scopes: tuple[Scope, ...]
    days: int | None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token; `expired` where it is refused for its age."""

    id: int
    name: str
    scopes: str
    made: formats.Moment
    made_by: str
    used: formats.Moment | None
    expires: formats.Moment | None
    expired: bool


@dataclass(frozen=True, slots=True)
class TokensPage:
    """All tokens by name, and the scopes that the form offers."""

    tokens: tuple[TokenRow, ...]
    scopes: Sequence[tuple[Scope, str]]
    missing: tuple[str, ...]


def show_tokens(session: Session, bar: StatusBar) -> TokensPage:
    """The page."""
    budget = QueryBudget(session)
    found = budget.read("the tokens", lambda: api_tokens.all_tokens(session.connection())) or ()
    rows = tuple(_row(each, bar.now) for each in found)
    return TokensPage(rows, SCOPES, (*bar.missing, *budget.missing))


def read_form(given: MultiDict[str, str]) -> Form:
    """The token that the form describes. Raises InvalidForm."""
    name = given.get("name", "").strip()
    if not NAME.fullmatch(name):
        raise InvalidForm("A name has 1 to 64 letters, digits, dots, dashes, underscores, plus or at signs.")
    chosen = given.getlist("scope")
    if not chosen or not set(chosen) <= set(Scope):
        raise InvalidForm("Choose what the token may do.")
    days = given.get("days", "").strip()
    if days and not (days.isascii() and days.isdigit() and len(days) < 5 and 1 <= int(days) <= MOST_DAYS):
        raise InvalidForm(f"The days until it expires are a whole number from 1 to {MOST_DAYS}, or nothing.")
    return Form(name, tuple(scope for scope in Scope if scope in chosen), int(days) if days else None)


def _row(token: Any, now: datetime) -> TokenRow:
    return TokenRow(
        id=token.id,
        name=token.name,
        scopes=", ".join(token.scopes),
        made=formats.moment(token.made_at, now),
        made_by=formats.one_line(token.made_by),
        used=formats.moment(token.last_used_at, now) if token.last_used_at else None,
        expires=formats.moment(token.expires_at, now) if token.expires_at else None,
        expired=token.expires_at is not None and token.expires_at <= now,
    )
