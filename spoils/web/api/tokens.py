"""Who may call the API."""

import hmac

from flask import request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from spoils.config import current_settings, secret_of
from spoils.job.registry import registry
from spoils.web.api.ids import is_name

OPEN_READS = {"api.jobs.status", "api.products.show"}


def check() -> None:
    """401 unless the request carries a token of SPOILS_API_TOKEN, or asks for what is open without one.

    With no token set, the guide's endpoints are open: those of classes that say `open`, the status, and products.
    """
    if request.endpoint == "api.health.health" or request.endpoint is None:
        return
    tokens = current_settings().api_tokens
    if tokens:
        if not _carries(tokens):
            raise _unauthorized()
    elif not _open_by_default():
        raise _unauthorized(
            "This endpoint needs a token, and the server has none: set SPOILS_API_TOKEN to open it."
        )


def _carries(tokens: tuple[str, ...]) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # WSGI hands a header over as Latin-1, whatever its bytes were meant to be.
    secret = given.strip().encode("latin-1")
    # Every token is compared, so that the time taken tells nothing.
    found = [hmac.compare_digest(secret, secret_of(token).encode()) for token in tokens]
    return scheme.lower() == "bearer" and any(found)


def _unauthorized(sentence: str | None = None) -> Unauthorized:
    return Unauthorized(sentence, www_authenticate=WWWAuthenticate("bearer"))


def _open_by_default() -> bool:
    if request.endpoint == "api.jobs.create":
        job_class = registry.at_endpoint((request.view_args or {}).get("endpoint", ""))
        return job_class is None or job_class.open
    if request.endpoint in ("api.jobs.show", "api.jobs.delete") and is_name(
        (request.view_args or {}).get("task_id", "")
    ):
        return True  # answered with 405, and no task's
    return request.endpoint in OPEN_READS
