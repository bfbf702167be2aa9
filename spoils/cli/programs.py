"""The two programs: web and worker."""

import argparse
import sys

from flask import Flask
from werkzeug.serving import make_server

from spoils.cli.start import await_schema, begin, check_worker_settings, guarded, starting_engine
from spoils.config import Settings
from spoils.db.migrate import migrate
from spoils.db.url import database_url
from spoils.errors import SpoilsError
from spoils.job.registry import registry
from spoils.web import create_app
from spoils.worker.family import PARENT_OPTION, Family
from spoils.worker.supervisor import Supervisor

LOOPBACK = "127.0.0.1"


def production_app() -> Flask:
    """The application that `gunicorn app:app` serves."""
    try:
        settings = begin()
        return create_app(settings, database_url=_ready_url(settings))
    except SpoilsError as exc:
        # gunicorn would print a traceback and start the worker again and again; 4 is its code for "do not".
        print(exc, file=sys.stderr)
        sys.exit(4)


def development_app() -> None:
    """`python app.py`: the application on loopback, its dashboard open without a password."""

    def program() -> int:
        settings = begin(development=True)
        app = create_app(settings, database_url=_ready_url(settings))
        make_server(LOOPBACK, settings.port, app, threaded=True).serve_forever()
        return 0

    sys.exit(guarded(program))


def worker_program() -> int:
    """`python worker.py`: one worker process, or a parent and its children, until told to stop. The exit code."""
    parser = argparse.ArgumentParser(description="Performs jobs until it is told to stop.")
    parser.add_argument(PARENT_OPTION, dest="parent", type=int, help=argparse.SUPPRESS)
    parent: int | None = parser.parse_args().parent

    def program() -> int:
        settings = begin()
        check_worker_settings(settings)
        url = _ready_url(settings)
        engine = starting_engine(url)
        await_schema(engine, parent=parent)
        engine.dispose()
        if parent is None and settings.worker_processes > 1:
            return Family(
                processes=settings.worker_processes,
                command=[sys.executable, *sys.argv],
                shutdown_seconds=settings.shutdown_seconds,
            ).run()
        return Supervisor(settings=settings, registry=registry, database_url=url, parent=parent).run()

    return guarded(program)


def _ready_url(settings: Settings) -> str:
    """The database's URL; the embedded one is brought up to date on the way, being nobody's but this clone's."""
    url = database_url(settings)
    if settings.database_url is None:
        engine = starting_engine(url)
        migrate(engine)
        engine.dispose()
    return url
