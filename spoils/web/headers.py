"""The headers of every response, errors too."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
ALWAYS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
SECURE = {**ALWAYS, "Strict-Transport-Security": "max-age=31536000"}
NOT_CACHED = {"dashboard.login", "dashboard.log_in", "dashboard.log_out"}


class SecurityHeaders:
    """WSGI middleware that adds the security headers, also to responses that do not come from Flask."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        # Under a prefix the host is another application's, and Strict-Transport-Security would hold for all of it.
        secure = environ["wsgi.url_scheme"] == "https" and not environ.get("SCRIPT_NAME")
        more = [*(SECURE if secure else ALWAYS).items()]

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [*headers, *more], *exc_info)

        return self._app(environ, start)


def init_app(app: Flask) -> None:
    """Set `Cache-Control` on every response of `app` that has none."""

    @app.after_request
    def cache(response: Response) -> Response:
        if "Cache-Control" not in response.headers:
            cached = request.endpoint not in NOT_CACHED
            response.headers["Cache-Control"] = "private, no-cache" if cached else "no-store"
        return response
