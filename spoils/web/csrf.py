"""Against requests that another site makes a browser send: a token in each form, and its origin."""

from urllib.parse import urlsplit

from flask import Request, abort
from flask_wtf.csrf import CSRFProtect

csrf = CSRFProtect()
"""Guards every route that changes something; what has tokens of its own is exempted by name."""


def foreign(request: Request) -> bool:
    """Whether the browser says that another origin made this request; others still need a token.

    Aborts with 400 where the Origin header cannot be parsed.
    """
    origin = request.headers.get("Origin")
    if origin is not None:
        try:
            host = urlsplit(origin).netloc
        except ValueError:
            abort(400, "The Origin header is not a valid origin.")
        # Only the host is compared: behind a proxy that ends TLS our own scheme is not the browser's.
        return host.lower() != request.host.lower()
    return request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
