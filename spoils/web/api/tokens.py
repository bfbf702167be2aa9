"""Authentication of the API by bearer tokens: those of SPOILS_API_TOKEN, and those made in the dashboard."""

import hashlib
import hmac
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from flask import current_app, g, request
from sqlalchemy.exc import DBAPIError
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from spoils.config import current_settings, secret_of
from spoils.job.registry import registry
from spoils.models import db
from spoils.queue import api_tokens
from spoils.queue.api_tokens import Scope
from spoils.web.api.ids import is_name
from spoils.web.client import from_here
from spoils.web.openapi.operation import Operation, operation_of

DOCUMENT = "api.document.openapi"
"""Checks the token itself, since a login to the dashboard opens it too."""
BY_NAME = {"api.jobs.show", "api.jobs.delete"}
_MADE_HERE = re.compile(rf"{api_tokens.PREFIX}[\w-]{{43}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of a request, with the name and the scopes of its token; empty without a token."""

    audit_name: str = "API"
    """Its name in the audit log."""
    secret_hash: str = ""
    scopes: frozenset[str] = frozenset()

    @property
    def known(self) -> bool:
        """Whether it carries a token."""
        return bool(self.secret_hash)

    def may(self, scope: Scope) -> bool:
        """Whether its token is for calls of this scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def caller() -> Caller:
    """The client of this request, after `identify`."""
    found: Caller = g.api_caller
    return found


def identify() -> None:
    """Read the token of the request."""
    secret = _bearer(request.headers.get("Authorization", ""))
    g.api_caller = _of_setting(secret, current_settings().api_tokens) or _of_table(secret) or Caller()


def check() -> None:
    """Abort with 401 unless the request has a token, or the endpoint is open without one; with 403 if the token lacks
    the scope.

    While SPOILS_API_TOKEN is not set, the guide's endpoints are open: those of classes that say `open`, the status, and
    products. In development this machine may also read a job, such as one that it has just enqueued.
    """
    if request.endpoint in (None, DOCUMENT) or is_public():
        return
    if caller().known:
        if not caller().may(scope := _operation().scope_for(request.method)):
            raise Forbidden(f"The token lacks the scope {scope}.")
        return
    if current_settings().api_tokens:
        raise unauthorized()
    if not _open_by_default():
        raise unauthorized(
            "This endpoint requires a token. Set SPOILS_API_TOKEN to open it, or make a token in the dashboard."
        )


def _bearer(authorization: str) -> bytes:
    scheme, _, given = authorization.partition(" ")
    # WSGI decodes headers as Latin-1, whatever encoding the client used.
    return given.strip().encode("latin-1") if scheme.lower() == "bearer" else b""


def _of_setting(secret: bytes, tokens: tuple[str, ...]) -> Caller | None:
    # Every token is compared, so that the time reveals nothing.
    found = [token for token in tokens if hmac.compare_digest(secret, _bytes_of(token))]
    if not found:
        return None
    name, colon, _ = found[0].partition(":")
    audit_name = f"API: {name.strip()}" if colon and name.strip() else "API"
    return Caller(audit_name, hashlib.sha256(_bytes_of(found[0])).hexdigest(), frozenset({Scope.ADMIN}))


def _of_table(secret: bytes) -> Caller | None:
    # The health check is public, and its answer must not depend on this read.
    text = secret.decode("latin-1")
    if is_public() or not _MADE_HERE.fullmatch(text):
        return None
    with db.engine.begin() as connection:
        found = api_tokens.find(connection, text)
    if found is None:
        return None
    if found.use_is_due:
        # A database that takes no writes, or a role that may not, does not stop a read.
        with suppress(DBAPIError), db.engine.begin() as connection:
            api_tokens.note_use(connection, found.id)
    return Caller(f"token:{found.name}", api_tokens.hash_of(text), found.scopes)


def unauthorized(sentence: str | None = None) -> Unauthorized:
    """The 401 to raise."""
    return Unauthorized(sentence, www_authenticate=WWWAuthenticate("bearer"))


@lru_cache
def _bytes_of(token: str) -> bytes:
    return secret_of(token).encode(errors="surrogateescape")


def is_public() -> bool:
    """Whether the endpoint never needs a token."""
    return _operation().public


def _operation() -> Operation:
    view = current_app.view_functions.get(request.endpoint or "")
    return operation_of(view) if view else Operation()


def _open_by_default() -> bool:
    named = request.view_args or {}
    if request.endpoint == "api.jobs.create":
        return all(job_class.open for job_class in registry.named(named.get("name", "")))
    if request.endpoint in BY_NAME and is_name(named.get("task_id", "")):
        return True  # answered with 405
    if request.endpoint == "api.jobs.show" and current_settings().development:
        return from_here(request)
    return _operation().open
