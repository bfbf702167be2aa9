"""What each request of the dashboard must pass: open, logged in, allowed, and a form of its own."""

from flask import Flask, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError

from spoils.web.address import path_here
from spoils.web.csrf import csrf, foreign
from spoils.web.dashboard import access
from spoils.web.dashboard.application_users import application_users
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared.local_path import LONGEST
from spoils.web.errors import answer
from spoils.web.hit_counter import RateLimit

API = "api"
SAFE = {"GET", "HEAD", "OPTIONS"}
FOR_ALL = {f"{bp.name}.{name}" for name in ("login", "log_in", "log_out")}
FAILED_LOGINS, FAILED_LOGINS_SECONDS = 10, 300
FORMS = {"", "application/x-www-form-urlencoded", "multipart/form-data"}
NO_FORM = "This address accepts forms only. Nothing was changed."
FOREIGN = "This request came from another site. Nothing was changed. Open the page here and use its button."
STALE = "This form has expired or came from another site. Nothing was changed. Reload the page and try again."
NOT_AUTHORIZED = "You are not logged in, or your account may not see this page. Nothing was changed."
READ_ONLY = "You are logged in as viewer, which is read-only. Log in as admin to make changes."


def init_app(app: Flask) -> None:
    """Put the guard before the routes of `app`, and the check of form tokens after it."""
    app.extensions["spoils_logins"] = RateLimit(FAILED_LOGINS, FAILED_LOGINS_SECONDS)
    # A page may stay open for a whole session: its forms hold as long as that.
    app.config.setdefault("WTF_CSRF_TIME_LIMIT", None)
    # Instead of its check of the Referer, `foreign` checks the Origin, which is also sent without a Referer.
    app.config.setdefault("WTF_CSRF_SSL_STRICT", False)
    # `_guard` checks the token itself, after the check that the dashboard is open.
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    app.before_request(_guard)
    csrf.init_app(app)
    app.register_error_handler(CSRFError, lambda _error: answer(400, STALE))


def logins() -> RateLimit:
    """The limit of failed logins, by address and by name."""
    found: RateLimit = current_app.extensions["spoils_logins"]
    return found


def _guard() -> ResponseReturnValue | None:
    if bp.name in request.blueprints and (refusal := _refusal()) is not None:
        return refusal
    # What is not the API's, which is called with tokens of its own and without a session, needs a form's token. Where
    # no route takes the request, its body is not read.
    if request.routing_exception is None and API not in request.blueprints:
        csrf.protect(apply_exemptions=True)
    return None


def _refusal() -> ResponseReturnValue | None:
    if reason := access.closed_because():
        return render_template("session/closed.html", reason=reason), 503
    reads = request.method in SAFE
    if not reads and foreign(request):
        return answer(403, FOREIGN)
    if not reads and request.mimetype not in FORMS:
        return answer(415, NO_FORM)
    if request.endpoint in FOR_ALL:
        # The application's users log in there.
        return None if application_users() is None else answer(404)
    role = access.current_role()
    if role is None:
        return _log_in_first(path_here() if reads else None)
    if not reads and role is not access.Role.ADMIN:
        return answer(403, READ_ONLY)
    return None


def _log_in_first(here: str | None) -> ResponseReturnValue:
    if (users := application_users()) is not None:
        # A form is not redirected: the login may be on another origin, to which the browser sends no form of ours.
        onward = users.login_address(here) if here else None
        return redirect(onward, 303) if onward else answer(403, NOT_AUTHORIZED)
    onward = url_for("dashboard.login", next=here)
    return redirect(onward if len(onward) <= LONGEST else url_for("dashboard.login"), 303)
