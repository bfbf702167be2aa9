"""Authentication of the API by bearer tokens."""

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache

from flask import current_app, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from spoils.config import current_settings, secret_of
from spoils.job.registry import registry
from spoils.web.api.ids import is_name
from spoils.web.client import from_here
from spoils.web.openapi.operation import Operation, operation_of

DOCUMENT = "api.document.openapi"
"""Checks the token itself, since a login to the dashboard opens it too."""
BY_NAME = {"api.jobs.show", "api.jobs.delete"}


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of a request: the name of its token, if it has one, and a hash of the token; empty without a token."""

    name: str | None = None
    scope: str = ""

    @property
    def audit_name(self) -> str:
        """Its name in the audit log."""
        return f"API: {self.name}" if self.name else "API"

    @property
    def known(self) -> bool:
        """Whether it carries a token."""
        return bool(self.scope)


def caller() -> Caller:
    """The client of this request, after `identify`."""
    found: Caller = g.api_caller
    return found


def identify() -> None:
    """Read the token of the request."""
    g.api_caller = (
        carried(request.headers.get("Authorization", ""), current_settings().api_tokens) or Caller()
    )


def check() -> None:
    """Abort with 401 unless the request has a token of SPOILS_API_TOKEN, or the endpoint is open without one.

    While no token is set, the guide's endpoints are open: those of classes that say `open`, the status, and products.
    In development this machine may also read a job, such as one that it has just enqueued.
    """
    if request.endpoint in (None, DOCUMENT) or caller().known or is_public():
        return
    if current_settings().api_tokens:
        raise unauthorized()
    if not _open_by_default():
        raise unauthorized(
            "This endpoint requires a token, and the server has none. Set SPOILS_API_TOKEN to open it."
        )


def carried(authorization: str, tokens: tuple[str, ...]) -> Caller | None:
    """The client whose token is in that header; None if it is none of `tokens`."""
    scheme, _, given = authorization.partition(" ")
    # WSGI decodes headers as Latin-1, whatever encoding the client used.
    secret = given.strip().encode("latin-1")
    # Every token is compared, so that the time reveals nothing.
    found = [token for token in tokens if hmac.compare_digest(secret, _bytes_of(token))]
    if not found or scheme.lower() != "bearer":
        return None
    name, colon, _ = found[0].partition(":")
    return Caller(name.strip() if colon else None, hashlib.sha256(_bytes_of(found[0])).hexdigest())


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
