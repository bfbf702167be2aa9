"""The commands, and how the programs are put together."""

import argparse
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from werkzeug.serving import make_server

from spoils import jobs, logs
from spoils.clients.notifications import check_url
from spoils.config import NOTIFY_PREFIX, ROOT, Settings, environment_with
from spoils.db.engine import make_engine
from spoils.db.migrate import check_schema, migrate
from spoils.db.url import database_url
from spoils.errors import DatabaseAway, SettingError, SpoilsError
from spoils.job.registry import registry
from spoils.queue.rescue import rescue_foreign
from spoils.web import create_app
from spoils.worker.family import PARENT_OPTION, Family
from spoils.worker.supervisor import Supervisor

log = logging.getLogger("spoils")

# What libpq says where no waiting helps. It has no codes for it.
HOPELESS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")
LOOPBACK = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a mistake of the caller's ends with a sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="spoils", description="A job queue in one PostgreSQL table.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser(
        "migrate", help="bring the database to this release's schema; adopts fang's own table"
    )
    commands.add_parser("dev", help="database, web and worker at once, for development on this machine")
    commands.add_parser("check", help="check the settings and the job classes, and start nothing")
    adopt = commands.add_parser("adopt", help="give back tasks that another system left in progress")
    adopt.add_argument(
        "--no-rust-workers",
        action="store_true",
        required=True,
        help="say that no worker of that system runs any more",
    )
    chosen = parser.parse_args(arguments)
    actions: dict[str, Callable[[], int]] = {
        "migrate": _migrate,
        "dev": _dev,
        "check": _check,
        "adopt": _adopt,
    }
    sys.exit(guarded(lambda: _with_database(actions[chosen.command])))


def guarded(program: Callable[[], int]) -> int:
    """Run `program`; what Spoils raises on purpose becomes a sentence on standard error and exit code 2."""
    try:
        return program()
    except SpoilsError as exc:
        print(exc, file=sys.stderr)
        return 2


def _with_database(command: Callable[[], int]) -> int:
    try:
        return command()
    except OperationalError as exc:
        raise DatabaseAway(f"The database does not answer: {' '.join(str(exc.orig).split())}") from exc


def production_app() -> Flask:
    """The application that `gunicorn app:app` serves."""
    try:
        settings = _begin()
        return create_app(settings, database_url=database_url(settings))
    except SpoilsError as exc:
        # gunicorn would print a traceback and start the worker again and again; 4 is its code for "do not".
        print(exc, file=sys.stderr)
        sys.exit(4)


def development_app() -> None:
    """`python app.py`: the application on loopback, its dashboard open without a password."""

    def program() -> int:
        settings = _begin(development=True)
        url = database_url(settings)
        if settings.database_url is None:
            migrate(_engine(url))
        app = create_app(settings, database_url=url)
        make_server(LOOPBACK, settings.port, app, threaded=True).serve_forever()
        return 0

    sys.exit(guarded(program))


def worker_program() -> int:
    """`python worker.py`: one worker process, or a parent and its children, until told to stop. The exit code."""
    parser = argparse.ArgumentParser(description="Performs jobs until it is told to stop.")
    parser.add_argument(PARENT_OPTION, dest="parent", type=int, help=argparse.SUPPRESS)
    parent: int | None = parser.parse_args().parent

    def program() -> int:
        settings = _begin()
        _check_notify_urls(settings)
        url = database_url(settings)
        engine = _engine(url)
        if settings.database_url is None:
            migrate(engine)
        _await_schema(engine)
        engine.dispose()
        if parent is None and settings.worker_processes > 1:
            return Family(
                processes=settings.worker_processes,
                command=[sys.executable, *sys.argv],
                shutdown_seconds=settings.shutdown_seconds,
            ).run()
        return Supervisor(settings=settings, registry=registry, database_url=url, parent=parent).run()

    return guarded(program)


def _begin(*, development: bool = False) -> Settings:
    settings = Settings.from_env(development=development)
    logs.set_up(settings.log_level)
    jobs.load()
    return settings


def _engine(url: str) -> Engine:
    return make_engine(url, connections=1, application_name="spoils:start")


def _await_schema(engine: Engine) -> None:
    """Wait for a database that does not answer yet, or refuses one more connection while a release rolls over."""
    pause = 0.5
    while True:
        try:
            check_schema(engine)
        except OperationalError as exc:
            if any(words in str(exc.orig) for words in HOPELESS):
                raise SettingError(f"DATABASE_URL is wrong: {str(exc.orig).strip()}") from exc
            log.warning(
                "The database does not answer yet: %s", str(exc.orig).strip(), extra={"action": "start"}
            )
            time.sleep(pause)
            pause = min(pause * 2, 10.0)
        else:
            return


def _migrate() -> int:
    settings = _begin()
    migrate(_engine(database_url(settings)), shared_with_fang=settings.shared_with_fang)
    print("The schema is up to date.")
    return 0


def _check_notify_urls(settings: Settings) -> None:
    for kind, url in settings.notify_urls.items():
        if wrong := check_url(url):
            raise SettingError(f"{NOTIFY_PREFIX}{kind.upper()} is wrong: {wrong}")


def _check() -> int:
    settings = _begin()
    _check_notify_urls(settings)
    for job_class in registry:
        print(f"{job_class.task_type}: {job_class.__name__}, POST /api/jobs/{job_class.endpoint}")
    print(
        f"The settings are valid; a worker process holds at most {settings.worker_connections} connections."
    )
    return 0


def _adopt() -> int:
    settings = _begin()
    engine = _engine(database_url(settings))
    check_schema(engine)
    with engine.begin() as connection:
        given_back = rescue_foreign(connection, timeout_seconds=0)
    print(f"Gave back {len(given_back)} tasks that another system had left in progress.")
    return 0


def _dev() -> int:
    settings = _begin(development=True)
    programs: list[subprocess.Popen[bytes]] = []
    stops = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        # Ctrl-C in a terminal reaches the programs too; that they hear it twice changes nothing.
        nonlocal stops
        stops += 1
        for program in programs:
            program.terminate() if stops == 1 else program.kill()

    # From here on, so that in no moment a signal ends this process and not what it has started.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    url = database_url(settings)
    migrate(_engine(url))
    environment = environment_with(DATABASE_URL=url, PYTHONUNBUFFERED="1")
    try:
        programs.extend(
            subprocess.Popen([sys.executable, str(ROOT / name)], cwd=ROOT, env=environment)
            for name in ("app.py", "worker.py")
        )
        print(f"Spoils runs on http://{LOOPBACK}:{settings.port} — stop it with Ctrl-C.", flush=True)
        while not stops and all(program.poll() is None for program in programs):
            time.sleep(0.2)
    finally:
        for program in programs:
            program.terminate()  # where one has ended by itself, the other is of no use
        codes = [program.wait() for program in programs]
    return 0 if stops else max(codes, default=0) or 1
