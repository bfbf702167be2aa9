"""The web program."""

import os
import signal
import sys
from typing import NoReturn

import click
from flask import Flask
from werkzeug.serving import make_server

from spoils.cli import lifeline
from spoils.cli.command import Command
from spoils.cli.composition import extensions
from spoils.cli.port import check_port
from spoils.cli.start import begin, check_database, ready_url
from spoils.config import Settings, environment_with
from spoils.errors import SpoilsError
from spoils.web import create_app

LOOPBACK = "127.0.0.1"


def production_app() -> Flask:
    """The application that `gunicorn app:app` serves."""
    try:
        settings = begin()
        return create_app(settings, database_url=ready_url(settings), extensions=extensions(settings))
    except SpoilsError as exc:
        # gunicorn would print a traceback and start the worker again and again; 4 is its code for "do not".
        print(exc, file=sys.stderr)
        sys.exit(4)


def serve() -> NoReturn:
    """Start the web program under gunicorn, as in production."""
    settings = Settings.from_env()
    # gunicorn parses both itself before it reads its configuration, more strictly than we do.
    environment = environment_with(
        WEB_CONCURRENCY=str(settings.web_concurrency), FORWARDED_ALLOW_IPS=",".join(settings.proxies)
    )
    arguments = [
        "-m",
        "gunicorn",
        "--config",
        "python:spoils.cli.gunicorn_conf",
        "spoils.cli.web:production_app()",
    ]
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - no shell is wanted


@click.command(cls=Command)
@lifeline.option
def development_app(descriptor: int | None) -> None:
    """Serve the web program on this machine, for development: on loopback, its dashboard open without a password."""
    if descriptor is not None:
        lifeline.watch(descriptor)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lifeline.leave)
    settings = begin(development=True)
    check_port(LOOPBACK, settings.port)
    check_database(settings)
    app = create_app(settings, database_url=ready_url(settings), extensions=extensions(settings))
    make_server(LOOPBACK, settings.port, app, threaded=True).serve_forever()
