"""The web program."""

import os
import sys

from flask import Flask
from werkzeug.serving import make_server

from spoils.cli.start import begin, check_database, guarded, ready_url
from spoils.config import ROOT, Settings
from spoils.errors import SpoilsError
from spoils.web import create_app

LOOPBACK = "127.0.0.1"


def production_app() -> Flask:
    """The application that `gunicorn app:app` serves."""
    try:
        settings = begin()
        return create_app(settings, database_url=ready_url(settings))
    except SpoilsError as exc:
        # gunicorn would print a traceback and start the worker again and again; 4 is its code for "do not".
        print(exc, file=sys.stderr)
        sys.exit(4)


def serve() -> int:
    """Become gunicorn, once the settings are known to be valid.

    gunicorn parses WEB_CONCURRENCY and FORWARDED_ALLOW_IPS itself before it reads gunicorn.conf.py, and ends with a
    traceback where they are wrong. Raises SettingError.
    """
    Settings.from_env()
    arguments = [
        "-m",
        "gunicorn",
        "--config",
        str(ROOT / "gunicorn.conf.py"),
        "--chdir",
        str(ROOT),
        "app:app",
    ]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - no shell is wanted


def development_app() -> None:
    """`python app.py`: the application on loopback, its dashboard open without a password."""

    def program() -> int:
        settings = begin(development=True)
        check_database(settings)
        app = create_app(settings, database_url=ready_url(settings))
        make_server(LOOPBACK, settings.port, app, threaded=True).serve_forever()
        return 0

    sys.exit(guarded(program))
