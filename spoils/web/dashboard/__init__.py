"""The dashboard: a folder for each page with its routes and its view, and `shared` for what several pages use."""

from datetime import timedelta
from importlib import import_module

from flask import Flask
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spoils.config import PACKAGE, ROOT
from spoils.errors import UnsuitableDatabase
from spoils.web.address import path_here
from spoils.web.dashboard import access, application_users, guard
from spoils.web.dashboard.application_users import Authorize
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared import flashes

PAGES = (
    "api_docs",
    "audit",
    "batches",
    "bulk",
    "enqueue",
    "errors",
    "jobs",
    "overview",
    "schedules",
    "session",
    "tokens",
    "workers",
)


def init_app(app: Flask, *, authorize: Authorize | None = None, login_url: str | None = None) -> None:
    """Register the pages on `app`, for the users of the application where it has an `authorize`."""
    application_users.init_app(app, authorize, login_url)
    for page in PAGES:
        import_module(f"{__name__}.{page}.routes")
    app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(seconds=access.SESSION_SECONDS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    guard.init_app(app)
    app.jinja_env.globals["flashes"] = flashes.take_flashes
    # A clone has a worker.py; the installed package has the command.
    app.jinja_env.globals["worker_command"] = (
        "python worker.py" if PACKAGE.parent == ROOT else "spoils worker"
    )
    app.context_processor(
        lambda: {
            "role": _role_shown(),
            "user_name": access.user_name(),
            "has_doors": access.has_doors(),
            "path_here": path_here(),
        }
    )
    app.register_blueprint(bp)


def _role_shown() -> access.Role | None:
    # Error pages show the header too, and must not fail in turn if the role cannot be read.
    try:
        return access.current_role()
    except (DBAPIError, PoolTimeout, UnsuitableDatabase):
        return None
