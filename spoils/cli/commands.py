"""`python -m spoils <command>`."""

import os
import subprocess
import sys

import click
from werkzeug.security import generate_password_hash

from spoils.cli.command import Group
from spoils.cli.composition import branches
from spoils.cli.console import Mistake
from spoils.cli.development import run_development
from spoils.cli.job_actions import COMMANDS as ACTIONS
from spoils.cli.job_reads import run_export, run_jobs, run_show, run_why
from spoils.cli.queue_state import run_health, run_pause, run_resume, run_schedules, run_stats, run_workers
from spoils.cli.start import begin, check_worker_settings, starting_engine
from spoils.cli.web import serve
from spoils.config import LEAST_PASSWORD, environment_with
from spoils.database_url import without_password
from spoils.db import sharing
from spoils.db.migrate import changing, check_schema, migrate
from spoils.db.url import database_url, psql
from spoils.errors import SettingError
from spoils.job.registry import registry
from spoils.password_strength import weakness
from spoils.queue.batches import recount_batches
from spoils.queue.counts import recount
from spoils.queue.rescue import rescue_foreign


@click.group(cls=Group)
def main() -> None:
    """A job queue in one PostgreSQL table."""


main.command("dev")(run_development)
main.command("web")(serve)
READS = (run_jobs, run_show, run_why, run_export, run_stats, run_workers, run_health, run_schedules)
for operators_command in (*READS, *ACTIONS, run_pause, run_resume):
    main.add_command(operators_command)


@main.command("migrate")
def run_migrate() -> None:
    """Bring the schema up to this release; adopts fang's own table."""
    settings = begin()
    newer = migrate(
        starting_engine(database_url(settings)),
        branches=branches(settings),
        shared_with_fang=settings.shared_with_fang,
    )
    if newer is None:
        print("The schema is up to date.")
    else:
        print(f"The schema is newer than this release (revision {newer}): nothing to do.")


@main.command("hash-password")
def run_hash_password() -> None:
    """Print the hash of a password for SPOILS_USERS. The password is asked for, or read from standard input."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if why := weakness(password, least=LEAST_PASSWORD):
        raise Mistake(f"The password is too weak: {why}.")
    print(generate_password_hash(password, method="scrypt"))


@main.command("worker")
def run_worker() -> None:
    """Start the worker program, as `python worker.py`."""
    # Another program, since what the commands import would stay in the worker's memory.
    os.execv(sys.executable, [sys.executable, "-m", "spoils.cli.worker"])  # noqa: S606 - no shell is wanted


@main.command("check")
def run_check() -> None:
    """Check the settings and the job classes, and start nothing."""
    settings = begin()
    check_worker_settings(settings)
    for job_class in registry:
        called = "the queue's own" if job_class.hidden else f"POST /api/jobs/{job_class.endpoint}"
        print(f"{job_class.task_type}: {job_class.__name__}, {called}")
    print(
        f"The settings are valid; a worker process holds at most {settings.worker_connections} connections."
    )


@main.command("psql", add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_psql(arguments: tuple[str, ...]) -> int:
    """Open psql on the database; what follows is psql's."""
    settings = begin()
    url, password = without_password(database_url(settings))
    environment = environment_with(PGPASSWORD=password) if password else None
    try:
        return subprocess.run([psql(settings), url, *arguments], env=environment, check=False).returncode
    except FileNotFoundError as exc:
        raise SettingError("psql is not on the PATH: install PostgreSQL's client programs.") from exc


@main.command("adopt")
@click.option(
    "--no-rust-workers",
    is_flag=True,
    required=True,
    help="Confirm that no worker of the other system runs any more.",
)
def run_adopt(no_rust_workers: bool) -> None:  # noqa: ARG001 - required is all that it is
    """Take the table over for good from the system that had it before."""
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
        released = rescue_foreign(connection, timeout_seconds=0)
    print(f"Released {len(released)} tasks that another system had left in progress.")


@main.command("recount")
def run_recount() -> None:
    """Correct the counts by type and state, as after a restore of data alone."""
    settings = begin()
    engine = starting_engine(database_url(settings))
    check_schema(engine)
    with engine.begin() as connection:
        corrections = recount(connection)
    for correction in corrections:
        print(correction)
    if batches := recount_batches(engine):
        print(f"Corrected the counts of {batches} batches.")
    print(f"Corrected {len(corrections)} counts." if corrections else "The counts were right.")
