"""Logging in and out."""

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.web.client import client
from spoils.web.dashboard import access, guard
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared.flashes import say
from spoils.web.dashboard.shared.local_path import local_path

WRONG = "That is not the password."
TOO_OFTEN = "Too many wrong passwords came from your address. Try again in 5 min."


@bp.get("/login")
def login() -> ResponseReturnValue:
    """The form; who is in already goes on."""
    if access.current_role() is not None:
        return redirect(_onward(), 303)
    return _form()


@bp.post("/login")
def log_in() -> ResponseReturnValue:
    """Begin a session where the password is the admin's or the viewer's."""
    who = client()
    if guard.logins().exceeded(who):
        return _form(TOO_OFTEN), 429
    role = access.role_of(request.form.get("password", ""))
    if role is None:
        guard.logins().hit(who)
        return _form(WRONG), 401
    onward = _onward()
    access.enter(role)
    return redirect(onward, 303)


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    """End the session."""
    access.leave()
    if access.has_doors():
        say("done", "Logged out.")
    return redirect(url_for("dashboard.login"), 303)


def _form(wrong: str | None = None) -> str:
    return render_template("session/login.html", wrong=wrong, onward=_onward())


def _onward() -> str:
    return local_path(request.values.get("next"), url_for("dashboard.home"))
