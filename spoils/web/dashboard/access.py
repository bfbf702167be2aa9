"""Who may see and who may act: an admin, a viewer who only reads, or nobody."""

import hashlib
import hmac
import time
from enum import StrEnum
from uuid import UUID, uuid4

from flask import current_app, g, request, session

from spoils.config import Settings, current_settings
from spoils.models import db
from spoils.queue import logouts
from spoils.web.client import from_here
from spoils.web.dashboard.application_users import application_users

SESSION_SECONDS = 12 * 3600
"""How long a session lasts from its login."""


class Role(StrEnum):
    """What somebody is to the dashboard."""

    ADMIN = "admin"
    VIEWER = "viewer"


def has_doors() -> bool:
    """Whether there is a password to log in with."""
    return bool(_passwords(current_settings()))


def closed_because() -> str | None:
    """Why nobody at all gets in, as one sentence; None where somebody does."""
    now = current_settings()
    if application_users() is not None:
        return None
    if not has_doors():
        return None if now.development and from_here(request) else "No password is set."
    if now.secret_key is None and not now.development:
        return "A password is set, but no SECRET_KEY to sign sessions with."
    return None


def current_role() -> Role | None:
    """What the client of this request is, looked up once: for a login, by one row of the database."""
    if "role" not in g:
        # Where the database does not answer below, the page that says so is rendered for a stranger.
        g.role = g.user_name = None
        users = application_users()
        g.role, g.user_name = (_role(), None) if users is None else _checked(*users.identify())
    found: Role | None = g.role
    return found


def user_name() -> str | None:
    """The name that the application gave its user; None where it gave none."""
    name: str | None = g.get("user_name")
    return name


def who() -> str:
    """The client of this request in the audit log."""
    return user_name() or str(current_role() or "nobody")


def role_of(password: str) -> Role | None:
    """Whose password this is; both are compared, so that the time taken tells nothing."""
    matches = [role for role, own in _passwords(current_settings()).items() if _same(password, own)]
    return matches[0] if matches else None


def enter(role: Role) -> None:
    """Begin a login; one that this browser had before ends."""
    leave()
    session.permanent = True
    session["login"] = str(uuid4())
    session["until"] = int(time.time()) + SESSION_SECONDS
    session["role"] = role.value
    # A session holds good for the password that it was begun with, and ends when that is changed.
    session["mark"] = _mark(role, _passwords(current_settings())[role])


def leave() -> None:
    """End the login, in every copy of its cookie."""
    # A session that has run out needs no entry, and a read-only database could not make one.
    if (login := session.get("login")) and time.time() < session["until"]:
        with db.engine.begin() as connection:
            logouts.end_login(connection, UUID(login))
    session.clear()


def _checked(role: str | None, name: str | None) -> tuple[Role | None, str | None]:
    if role not in (None, *Role):
        raise ValueError(f"authorize returned {role!r}. It may return 'admin', 'viewer' or None.")
    return (None if role is None else Role(role)), name


def _role() -> Role | None:
    if not has_doors():
        return Role.ADMIN if closed_because() is None else None
    # The cookie's own signature is renewed with each request, so its age says nothing of the login. A cookie of a
    # release before logins had ids could not be ended.
    if "login" not in session or time.time() >= session["until"]:
        return None
    for role, password in _passwords(current_settings()).items():
        if session.get("role") == role.value and _same(str(session.get("mark")), _mark(role, password)):
            return None if _has_ended(session["login"]) else role
    return None


def _has_ended(login: str) -> bool:
    # Not the session of the page, whose transaction the page begins itself.
    with db.engine.connect() as connection:
        return logouts.has_ended(connection, UUID(login))


def _passwords(now: Settings) -> dict[Role, str]:
    if application_users() is not None:
        return {}
    both = {Role.ADMIN: now.admin_password, Role.VIEWER: now.viewer_password}
    return {role: password for role, password in both.items() if password}


def _mark(role: Role, password: str) -> str:
    key = str(current_app.secret_key).encode()
    return hmac.new(key, f"{role}:{password}".encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(errors="surrogatepass"), right.encode(errors="surrogatepass"))
