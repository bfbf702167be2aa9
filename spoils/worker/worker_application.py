"""The Flask application of a worker: no routes, only what `db.session` needs."""

from uuid import UUID

from flask import Flask

from spoils.config import Settings
from spoils.db.engine import driver_url, engine_options, obey_rules
from spoils.models import db

OWN_CONNECTIONS = 3
"""Heartbeat; claim and LISTEN; settle and background loops. The rest of the budget is for sessions of jobs."""
SESSION_WAIT_SECONDS = 60.0
"""How long a job waits for a session connection while running jobs hold them all.

Then its task is released uncounted: the job may be waiting for a connection that it holds itself."""


def create_worker_app(settings: Settings, *, database_url: str, worker_id: UUID) -> Flask:
    """An application whose engine holds what the connection budget leaves for sessions of jobs."""
    app = Flask("spoils.worker")
    app.config.update(
        SPOILS=settings,
        SQLALCHEMY_DATABASE_URI=driver_url(database_url),
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(
            connections=settings.worker_connections - OWN_CONNECTIONS,
            application_name=application_name(worker_id),
            pool_timeout=SESSION_WAIT_SECONDS,
        ),
    )
    db.init_app(app)
    with app.app_context():
        # The statements are the job's own: the timeouts of the role apply.
        obey_rules(db.engine, keep_role_limits=True)
    return app


def application_name(worker_id: UUID) -> str:
    """The application name of every connection of a worker, by which a rescuer finds them."""
    return f"spoils:{worker_id}"
