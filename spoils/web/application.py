"""The application factory."""

import secrets
from collections.abc import Mapping

from flask import Flask

from spoils.config import Settings, data_folder
from spoils.db.engine import driver_url, engine_options, obey_rules
from spoils.db.url import database_url as url_of
from spoils.errors import SettingError
from spoils.job.discovery import load
from spoils.models import db
from spoils.web import (
    api,
    dashboard,
    document,
    errors,
    exports,
    extension,
    headers,
    proxy,
    session_cookie,
    static_files,
)
from spoils.web.dashboard.application_users import Authorize
from spoils.web.extension import Extension

MAX_BODY_BYTES = 64 * 1024
STATEMENT_TIMEOUT_MS = 5_000
NO_KEY = (
    "SECRET_KEY is not set. It signs the tokens of the dashboard's forms: "
    "pass the key of your application, as in settings={'SECRET_KEY': …}."
)

# Here and not in the API, since a login to the dashboard opens it too.
api.api.register_blueprint(document.routes)


def create_app(
    settings: Settings | Mapping[str, object] | None = None,
    *,
    database_url: str | None = None,
    authorize: Authorize | None = None,
    login_url: str | None = None,
    extensions: tuple[Extension, ...] = (),
) -> Flask:
    """The dashboard and the API, as a WSGI application that can be mounted in another one under any prefix.

    `settings` come before those of the environment and have their names: {"SPOILS_JOBS": "shop.jobs"}. The job classes
    of SPOILS_JOBS are imported. `database_url` is that of the queue; by default DATABASE_URL. No connection is opened.

    `authorize` gets each request to the dashboard and returns "admin", "viewer", one of them with the user's name for
    the audit log, as ("admin", "ann@shop.example"), or None. The passwords are then not used, and without a token of
    SPOILS_API_TOKEN the API refuses every call but /health. Where it returns None the answer is 403, or a redirect to
    `login_url`.

    Raises SettingError for a wrong setting, JobDefinitionError for a wrong job class.

    Example:
        queue = spoils.web.create_app({"SECRET_KEY": app.secret_key}, authorize=lambda request: role_of(request))
        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/queue": queue})
    """
    if not isinstance(settings, Settings):
        settings = Settings.from_env_with(settings or {})
        load(settings.jobs)
        database_url = database_url or url_of(settings)
    if authorize is not None:
        settings = _for_application_users(settings)
    app = Flask("spoils", template_folder=str(data_folder("templates")), static_folder=None)
    # A redirect that merges slashes would answer programs in HTML.
    app.url_map.merge_slashes = False
    app.config.update(
        SPOILS=settings,
        # Without a configured key, sessions and form tokens are valid only in this process: enough without logins.
        SECRET_KEY=settings.secret_key or secrets.token_hex(),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SQLALCHEMY_DATABASE_URI=driver_url(database_url or settings.database_url or ""),
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(
            connections=settings.web_connections,
            application_name="spoils:web",
        ),
    )
    session_cookie.init_app(app, secure=not settings.development)
    db.init_app(app)
    with app.app_context():
        obey_rules(db.engine, by_order=True, statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    headers.init_app(app)
    errors.init_app(app)
    api.init_app(app)
    static_files.init_app(app)
    # Before the checks of the dashboard.
    proxy.init_app(app)
    dashboard.init_app(app, authorize=authorize, login_url=login_url)
    # Beside the dashboard, since it writes jobs as the API does.
    app.register_blueprint(exports.routes, name_prefix="dashboard")
    extension.init_app(app, extensions)
    app.wsgi_app = headers.SecurityHeaders(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _for_application_users(settings: Settings) -> Settings:
    """The settings where the users are the application's. Nobody is to get in beside them: an API without a token is
    given one that nobody knows.
    """
    if settings.secret_key is None:
        raise SettingError(NO_KEY)
    return settings.model_copy(update={"api_tokens": settings.api_tokens or (secrets.token_hex(),)})
