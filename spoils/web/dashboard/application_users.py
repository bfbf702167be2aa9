"""The users of an application that mounts the dashboard: its `authorize` says what each of them may do."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Flask, Request, current_app, request

from spoils.web.dashboard.shared.local_path import LONGEST

KEY = "spoils_application_users"

Answer = str | tuple[str, str] | None
Authorize = Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class ApplicationUsers:
    """`authorize` returns a role, a role and the user's name, or None; `login_url` is the application's own login."""

    authorize: Authorize
    login_url: str | None

    def identify(self) -> tuple[str | None, str | None]:
        """The role and the name of the user of this request."""
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]
        answer = self.authorize(asked)
        return answer if isinstance(answer, tuple) else (answer, None)

    def login_address(self, here: str) -> str | None:
        """The login page, with the page to return to as `next`; None if the application has named none."""
        if self.login_url is None:
            return None
        onward = f"{self.login_url}{'&' if '?' in self.login_url else '?'}{urlencode({'next': here})}"
        return onward if len(onward) <= LONGEST else self.login_url


def init_app(app: Flask, authorize: Authorize | None, login_url: str | None) -> None:
    """Let the users of the application into the dashboard of `app`, where it has an `authorize`."""
    if authorize is not None:
        app.extensions[KEY] = ApplicationUsers(authorize, login_url)


def application_users() -> ApplicationUsers | None:
    """Those of this application; None where it has passwords of its own."""
    found: ApplicationUsers | None = current_app.extensions.get(KEY)
    return found
