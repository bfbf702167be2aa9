"""Logging in and out."""

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.web.client import client
from spoils.web.dashboard import access, guard
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared.flashes import add_flash
from spoils.web.dashboard.shared.local_path import local_path

WRONG = "Wrong password."
TOO_MANY = "Too many failed logins from your address. Try again in 5 min."


@bp.get("/login")
def login() -> ResponseReturnValue:
    """The form; a visitor who is logged in is redirected."""
    if access.current_role() is not None:
        return redirect(_next(), 303)
    return _form()


@bp.post("/login")
def log_in() -> ResponseReturnValue:
    """Begin a session if the password is the admin's or the viewer's."""
    who = client()
    if guard.logins().exceeded(who):
        return _form(TOO_MANY), 429
    role = access.role_of(request.form.get("password", ""))
    if role is None:
        guard.logins().hit(who)
        return _form(WRONG), 401
    target = _next()
    access.enter(role)
    return redirect(target, 303)


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    """End the session."""
    access.leave()
    if access.has_doors():
        add_flash("done", "Logged out.")
    return redirect(url_for("dashboard.login"), 303)


def _form(error: str | None = None) -> str:
    return render_template("session/login.html", error=error, next=_next())


def _next() -> str:
    return local_path(request.values.get("next"), url_for("dashboard.home"))
