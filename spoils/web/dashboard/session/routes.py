"""Logging in and out."""

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.web.client import client
from spoils.web.dashboard import access, guard
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared.flashes import add_flash
from spoils.web.dashboard.shared.local_path import local_path

WRONG, WRONG_NAMED = "Wrong password.", "Wrong name or password."
TOO_MANY = "Too many failed logins from your address. Try again in 5 min."
TOO_MANY_NAMED = "Too many failed logins with this name. Try again in 5 min."
LONGEST_NAME = 64


@bp.get("/login")
def login() -> ResponseReturnValue:
    """The form; a visitor who is logged in is redirected."""
    if access.current_role() is not None:
        return redirect(_next(), 303)
    return _form()


@bp.post("/login")
def log_in() -> ResponseReturnValue:
    """Begin a session if the password is that of the name, or one of the shared passwords."""
    name = _name()
    limit, address, by_name = guard.logins(), client(), f"name {name}"
    if limit.exceeded(address):
        return _form(TOO_MANY), 429
    if name and limit.exceeded(by_name):
        return _form(TOO_MANY_NAMED), 429
    account = access.account_of(name, request.form.get("password", ""))
    if account is None:
        for key in (address, by_name) if name else (address,):
            limit.hit(key)
        return _form(WRONG_NAMED if access.has_names() else WRONG), 401
    target = _next()
    access.enter(account)
    return redirect(target, 303)


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    """End the session."""
    access.leave()
    if access.has_doors():
        add_flash("done", "Logged out.")
    return redirect(url_for("dashboard.login"), 303)


def _form(error: str | None = None) -> str:
    return render_template(
        "session/login.html",
        error=error,
        next=_next(),
        name=_name(),
        has_names=access.has_names(),
        has_shared_passwords=access.has_shared_passwords(),
    )


def _name() -> str:
    return request.form.get("name", "").strip()[:LONGEST_NAME] if access.has_names() else ""


def _next() -> str:
    return local_path(request.values.get("next"), url_for("dashboard.home"))
