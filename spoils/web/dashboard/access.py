"""Who may see and who may act: an admin, a viewer who only reads, or nobody."""

import hashlib
import hmac
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid4

from flask import current_app, g, request, session
from werkzeug.security import check_password_hash

from spoils.config import Settings, current_settings
from spoils.models import db
from spoils.queue import logouts
from spoils.web.client import from_here
from spoils.web.dashboard.application_users import application_users

SESSION_SECONDS = 12 * 3600
"""How long a session lasts from its login."""
# A check of a hash takes 32 MiB, which many at once would multiply.
_hash_check = threading.Lock()


class Role(StrEnum):
    """What somebody is to the dashboard."""

    ADMIN = "admin"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Account:
    """A person of SPOILS_USERS; or one of the two shared passwords, without a name."""

    name: str
    role: Role
    secret: str
    """The password, or the hash of a person's."""


def has_doors() -> bool:
    """Whether there is a password to log in with."""
    return bool(_accounts(current_settings()))


def has_names() -> bool:
    """Whether people log in by their names."""
    return bool(current_settings().users)


def has_shared_passwords() -> bool:
    """Whether there is a password that needs no name."""
    return not all(account.name for account in _accounts(current_settings()))


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
        g.role, g.user_name = _own() if users is None else _checked(*users.identify())
    found: Role | None = g.role
    return found


def user_name() -> str | None:
    """The name of a person of SPOILS_USERS or of a user of the application; None where there is none."""
    name: str | None = g.get("user_name")
    return name


def who() -> str:
    """The client of this request in the audit log."""
    return user_name() or str(current_role() or "nobody")


def account_of(name: str, password: str) -> Account | None:
    """The account that the password opens; without a name, that of a shared password.

    The time that it takes does not reveal which names exist, nor which of both shared passwords is near.
    """
    accounts = _accounts(current_settings())
    if not name:
        matches = [one for one in accounts if not one.name and _same(password, one.secret)]
        return matches[0] if matches else None
    people = {one.name: one for one in accounts if one.name}
    if not people:
        return None
    found = people.get(name)
    with _hash_check:
        right = check_password_hash((found or next(iter(people.values()))).secret, password)
    return found if right else None


def enter(account: Account) -> None:
    """Begin a login; one that this browser had before ends."""
    leave()
    session.permanent = True
    session["login"] = str(uuid4())
    session["until"] = int(time.time()) + SESSION_SECONDS
    session["role"], session["name"] = account.role.value, account.name
    # A session holds good for the password that it was begun with, and ends when that is changed.
    session["mark"] = _mark(account)


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


def _own() -> tuple[Role | None, str | None]:
    if not has_doors():
        return (Role.ADMIN if closed_because() is None else None), None
    # The cookie's own signature is renewed with each request, so its age says nothing of the login. A cookie of a
    # release before logins had ids could not be ended.
    if "login" not in session or time.time() >= session["until"]:
        return None, None
    begun_as = (session.get("name", ""), session.get("role"))
    for account in _accounts(current_settings()):
        if begun_as == (account.name, account.role) and _same(str(session.get("mark")), _mark(account)):
            return (None, None) if _has_ended(session["login"]) else (account.role, account.name or None)
    return None, None


def _has_ended(login: str) -> bool:
    # Not the session of the page, whose transaction the page begins itself.
    with db.engine.connect() as connection:
        return logouts.has_ended(connection, UUID(login))


def _accounts(now: Settings) -> list[Account]:
    if application_users() is not None:
        return []
    shared = {Role.ADMIN: now.admin_password, Role.VIEWER: now.viewer_password}
    return [
        *(Account("", role, password) for role, password in shared.items() if password),
        *(Account(user.name, Role(user.role), user.password_hash) for user in now.users),
    ]


def _mark(account: Account) -> str:
    key = str(current_app.secret_key).encode()
    names = f"{account.name}:{account.role}" if account.name else account.role
    return hmac.new(
        key, f"{names}:{account.secret}".encode(errors="surrogateescape"), hashlib.sha256
    ).hexdigest()


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(errors="surrogatepass"), right.encode(errors="surrogatepass"))
