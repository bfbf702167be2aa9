"""The pages."""

from datetime import timedelta

from flask import Flask

from spoils.web import assets
from spoils.web.dashboard import (
    access,
    flashes,
    guard,
    job_routes,  # noqa: F401
    overview_routes,  # noqa: F401
    product_routes,  # noqa: F401
    schedule_routes,  # noqa: F401
    session_routes,  # noqa: F401
    versions,  # noqa: F401
    worker_routes,  # noqa: F401
)
from spoils.web.dashboard.blueprint import bp

SESSION_LIFETIME = timedelta(hours=12)


def init_app(app: Flask) -> None:
    """Mount them on `app`."""
    app.config["PERMANENT_SESSION_LIFETIME"] = SESSION_LIFETIME
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    assets.init_app(app)
    guard.init_app(app)
    app.jinja_env.globals["flashes"] = flashes.heard
    app.context_processor(lambda: {"role": access.current_role(), "has_doors": access.has_doors()})
    app.register_blueprint(bp)
