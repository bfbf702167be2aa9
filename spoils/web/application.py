"""The application factory."""

import secrets

from flask import Flask

from spoils.config import Settings, data_folder
from spoils.db.engine import driver_url, engine_options, obey_rules
from spoils.models import db
from spoils.web import api, dashboard, document, errors, extension, headers, proxy, static_files
from spoils.web.extension import Extension

MAX_BODY_BYTES = 64 * 1024
STATEMENT_TIMEOUT_MS = 5_000

# Here and not in the API, since a login to the dashboard opens it too.
api.api.register_blueprint(document.routes)


def create_app(
    settings: Settings, *, database_url: str | None = None, extensions: tuple[Extension, ...] = ()
) -> Flask:
    """A Flask application over the database of `settings`, or over `database_url` where that is given."""
    app = Flask("spoils", template_folder=str(data_folder("templates")), static_folder=None)
    # A redirect that merges slashes would answer programs in HTML.
    app.url_map.merge_slashes = False
    app.config.update(
        SPOILS=settings,
        # Without a configured key, sessions and form tokens are valid only in this process: enough without logins.
        SECRET_KEY=settings.secret_key or secrets.token_hex(),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=not settings.development,
        SQLALCHEMY_DATABASE_URI=driver_url(database_url or settings.database_url or ""),
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(
            connections=settings.web_connections,
            application_name="spoils:web",
        ),
    )
    db.init_app(app)
    with app.app_context():
        obey_rules(db.engine, by_order=True, statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    headers.init_app(app)
    errors.init_app(app)
    api.init_app(app)
    static_files.init_app(app)
    # Before the checks of the dashboard.
    proxy.init_app(app)
    dashboard.init_app(app)
    extension.init_app(app, extensions)
    app.wsgi_app = headers.SecurityHeaders(app.wsgi_app)  # type: ignore[method-assign]
    return app
