"""The session cookie: it goes only to addresses under the prefix, and is not the cookie of an application around it."""

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface

NAME = "spoils_session"


class SessionCookie(SecureCookieSessionInterface):
    """Flask's signed cookie, with the path of the mounted application."""

    # The application around this one may sign its own session with the same SECRET_KEY.
    salt = "spoils-session"

    def get_cookie_path(self, app: Flask) -> str:  # noqa: ARG002 - Flask's interface
        """The prefix, which only the request knows."""
        return request.script_root or "/"


def init_app(app: Flask, *, secure: bool) -> None:
    """Use it for the sessions of `app`."""
    app.config.update(
        SESSION_COOKIE_NAME=NAME,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=secure,
    )
    app.session_interface = SessionCookie()
