"""The headers that every answer carries, errors too."""

from flask import Flask, Response, current_app, request

from spoils.web.assets import FOR_EVER
from spoils.web.compression import compress

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
NOT_KEPT = {"dashboard.login", "dashboard.log_in", "dashboard.log_out"}


def always(*, secure: bool) -> dict[str, str]:
    """What no answer goes without; `secure` is one that came by TLS."""
    return {**ALWAYS, "Strict-Transport-Security": "max-age=31536000"} if secure else ALWAYS


def init_app(app: Flask) -> None:
    """Set them after each request of `app`."""

    @app.after_request
    def secure(response: Response) -> Response:
        response.headers.update(always(secure=request.is_secure))
        if request.endpoint == "static":
            response.headers["Cache-Control"] = FOR_EVER if _names_content() else "public, no-cache"
            response = compress(response)
        elif "Cache-Control" not in response.headers:
            kept = request.endpoint not in NOT_KEPT
            response.headers["Cache-Control"] = "private, no-cache" if kept else "no-store"
        return response


def _names_content() -> bool:
    name = (request.view_args or {}).get("filename", "")
    fingerprint = current_app.extensions["spoils_assets"].fingerprint(name)
    return fingerprint is not None and request.args.get("v") == fingerprint
