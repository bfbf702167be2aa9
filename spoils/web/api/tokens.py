"""Who may call the API, and who calls it."""

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
from spoils.web.extension import open_reads

OPEN_READS = {"api.jobs.status"}
ELSEWHERE = {None, "api.health.health", "api.document.openapi"}
"""Open to everybody, or guarded where they are."""
BY_NAME = {"api.jobs.show", "api.jobs.delete"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request this is: the name of its token where that has one, and a text of its own for each token."""

    name: str | None = None
    scope: str = ""

    @property
    def told(self) -> str:
        """How the audit trail calls it."""
        return f"API: {self.name}" if self.name else "API"

    @property
    def known(self) -> bool:
        """Whether it carries a token."""
        return bool(self.scope)


def caller() -> Caller:
    """Who calls, once `identify` has looked."""
    found: Caller = g.api_caller
    return found


def identify() -> None:
    """Look at the token that the request carries."""
    g.api_caller = (
        carried(request.headers.get("Authorization", ""), current_settings().api_tokens) or Caller()
    )


def check() -> None:
    """401 unless the request carries a token of SPOILS_API_TOKEN, or asks for what is open without one.

    With no token set, the guide's endpoints are open: those of classes that say `open`, the status, and the open reads
    of extensions. In development this machine may also look at a job, such as the one that it has just enqueued.
    """
    if request.endpoint in ELSEWHERE or caller().known:
        return
    if current_settings().api_tokens:
        raise unauthorized()
    if not _open_by_default():
        raise unauthorized(
            "This endpoint needs a token, and the server has none: set SPOILS_API_TOKEN to open it."
        )


def carried(authorization: str, tokens: tuple[str, ...]) -> Caller | None:
    """Whose token stands in that header; None where it is none of `tokens`."""
    scheme, _, given = authorization.partition(" ")
    # WSGI hands a header over as Latin-1, whatever its bytes were meant to be.
    secret = given.strip().encode("latin-1")
    # Every token is compared, so that the time taken tells nothing.
    found = [token for token in tokens if hmac.compare_digest(secret, _bytes_of(token))]
    if not found or scheme.lower() != "bearer":
        return None
    name, colon, _ = found[0].partition(":")
    return Caller(name.strip() if colon else None, hashlib.sha256(_bytes_of(found[0])).hexdigest())


def unauthorized(sentence: str | None = None) -> Unauthorized:
    """What to raise where a token is needed."""
    return Unauthorized(sentence, www_authenticate=WWWAuthenticate("bearer"))


@lru_cache
def _bytes_of(token: str) -> bytes:
    return secret_of(token).encode(errors="surrogateescape")


def _open_by_default() -> bool:
    named = request.view_args or {}
    if request.endpoint == "api.jobs.create":
        return all(job_class.open for job_class in registry.named(named.get("name", "")))
    if request.endpoint in BY_NAME and is_name(named.get("task_id", "")):
        return True  # answered with 405, and no task's
    if request.endpoint == "api.jobs.show" and current_settings().development:
        return from_here(request)
    return request.endpoint in OPEN_READS | open_reads(current_app)
