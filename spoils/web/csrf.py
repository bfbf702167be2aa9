"""Protection against cross-site requests: a token in each form, and a check of the Origin header."""

from urllib.parse import urlsplit

from flask import Request, abort
from flask_wtf.csrf import CSRFProtect

csrf = CSRFProtect()
"""Protects every route that changes something, except the API, which has tokens of its own."""


def foreign(request: Request) -> bool:
    """Whether the browser says that a page of another origin made this request. Aborts with 400 on a bad Origin."""
    origin = request.headers.get("Origin")
    if origin is not None:
        try:
            host = urlsplit(origin).netloc
        except ValueError:
            abort(400, "The Origin header is not a valid origin.")
        # Only the host is compared: behind a proxy that terminates TLS the scheme differs from the browser's.
        return host.lower() != request.host.lower()
    return request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
