"""`python -m spoils <command>`."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from spoils.cli.development import run_development
from spoils.cli.start import begin, check_worker_settings, guarded, refuse_rest, starting_engine
from spoils.cli.web import serve
from spoils.config import ROOT, environment_with
from spoils.database_url import without_password
from spoils.db import sharing
from spoils.db.migrate import changing, check_schema, migrate
from spoils.db.url import database_url, psql
from spoils.errors import SettingError
from spoils.job.registry import registry
from spoils.queue.counts import recount
from spoils.queue.rescue import rescue_foreign


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a mistake of the caller's ends with a sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="spoils", description="A job queue in one PostgreSQL table.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("migrate", help="bring the schema up to this release; adopts fang's own table")
    commands.add_parser("dev", help="database, web and worker at once, for development on this machine")
    commands.add_parser("web", help="the web program under gunicorn, as in production")
    commands.add_parser("worker", help="the worker program, as `python worker.py`")
    commands.add_parser("check", help="check the settings and the job classes, and start nothing")
    commands.add_parser("psql", help="open psql on the database; what follows is psql's", add_help=False)
    adopt = commands.add_parser("adopt", help="take over for good from the system that had the table before")
    adopt.add_argument(
        "--no-rust-workers",
        action="store_true",
        required=True,
        help="say that no worker of that system runs any more",
    )
    commands.add_parser(
        "recount", help="correct the counts by type and state, as after a restore of data alone"
    )
    chosen, rest = parser.parse_known_args(arguments)
    if chosen.command != "psql":
        refuse_rest(parser, rest)
    actions: dict[str, Callable[[], int]] = {
        "migrate": _migrate,
        "dev": run_development,
        "web": serve,
        "worker": _worker,
        "check": _check,
        "psql": lambda: _psql(rest),
        "adopt": _adopt,
        "recount": _recount,
    }
    sys.exit(guarded(actions[chosen.command]))


def _migrate() -> int:
    settings = begin()
    newer = migrate(starting_engine(database_url(settings)), shared_with_fang=settings.shared_with_fang)
    if newer is None:
        print("The schema is up to date.")
    else:
        print(f"The schema is newer than this release (revision {newer}): nothing to do.")
    return 0


def _worker() -> int:
    # Another program, since what the commands import would stay in the worker's memory.
    os.execv(sys.executable, [sys.executable, str(ROOT / "worker.py")])  # noqa: S606 - no shell is wanted


def _check() -> int:
    settings = begin()
    check_worker_settings(settings)
    for job_class in registry:
        called = "the queue's own" if job_class.hidden else f"POST /api/jobs/{job_class.endpoint}"
        print(f"{job_class.task_type}: {job_class.__name__}, {called}")
    print(
        f"The settings are valid; a worker process holds at most {settings.worker_connections} connections."
    )
    return 0


def _psql(arguments: Sequence[str]) -> int:
    settings = begin()
    url, password = without_password(database_url(settings))
    environment = environment_with(PGPASSWORD=password) if password else None
    try:
        return subprocess.run([psql(settings), url, *arguments], env=environment, check=False).returncode
    except FileNotFoundError as exc:
        raise SettingError("psql is not on the PATH: install PostgreSQL's client programs.") from exc


def _adopt() -> int:
    settings = begin()
    if settings.shared_with_fang:
        raise SettingError(
            "SPOILS_SHARED_WITH_FANG is set: the next migrate would share the table again. Unset it first."
        )
    engine = starting_engine(database_url(settings))
    check_schema(engine)
    with changing(engine) as connection:
        # First, so that no two of those that go back have one hash.
        sharing.end(connection)
        given_back = rescue_foreign(connection, timeout_seconds=0)
    print(f"Gave back {len(given_back)} tasks that another system had left in progress.")
    return 0


def _recount() -> int:
    settings = begin()
    engine = starting_engine(database_url(settings))
    check_schema(engine)
    with engine.begin() as connection:
        corrections = recount(connection)
    for correction in corrections:
        print(correction)
    print(f"Corrected {len(corrections)} counts." if corrections else "The counts were right.")
    return 0
