"""Who may call the API."""

import hmac

from flask import abort, request

from spoils.config import current_settings
from spoils.job.registry import registry

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
            abort(401)
    elif not _open_by_default():
        abort(401, "This endpoint needs a token, and the server has none: set SPOILS_API_TOKEN to open it.")


def _carries(tokens: tuple[str, ...]) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # Every token is compared, so that the time taken tells nothing.
    found = [hmac.compare_digest(given.strip().encode(), _secret(token).encode()) for token in tokens]
    return scheme.lower() == "bearer" and any(found)


def _secret(token: str) -> str:
    """A token may carry a name before a colon, for the log's sake: `scanner:s3cret`."""
    return token.rpartition(":")[2]


def _open_by_default() -> bool:
    if request.endpoint == "api.jobs.create":
        job_class = registry.at_endpoint((request.view_args or {}).get("endpoint", ""))
        return job_class is None or job_class.open
    return request.endpoint in OPEN_READS
