"""The pages."""

from datetime import timedelta

from flask import Flask

from spoils.web.dashboard import (  # noqa: F401 - the routes register themselves
    access,
    api_routes,
    audit_routes,
    bulk_routes,
    enqueue_routes,
    error_routes,
    flashes,
    guard,
    job_routes,
    overview_routes,
    product_routes,
    schedule_routes,
    session_routes,
    versions,
    worker_routes,
)
from spoils.web.dashboard.blueprint import bp


def init_app(app: Flask) -> None:
    """Mount them on `app`."""
    app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(seconds=access.SESSION_SECONDS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    guard.init_app(app)
    app.jinja_env.globals["flashes"] = flashes.heard
    app.context_processor(lambda: {"role": access.current_role(), "has_doors": access.has_doors()})
    app.register_blueprint(bp)
