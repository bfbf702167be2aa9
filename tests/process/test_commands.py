"""`python -m spoils …` and the programs as one starts them: what they print, how they exit, what they leave behind."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from sqlalchemy import Connection, make_url, text

from tests.conftest import a_database
from tests.fake_postgres import STARTING, WRONG_PASSWORD, FakePostgres
from tests.process.trials import Trials
from tests.programs import Program, Web, free_port
from tests.rows import Rows

pytestmark = pytest.mark.process

NOWHERE = "postgresql://spoils:dbp4ssword@127.0.0.1:1/nowhere"


def test_migrate_says_when_it_is_done_and_may_be_run_again(trials: Trials, empty_database_url: str) -> None:
    for _ in range(2):
        assert trials.run("spoils", "migrate", DATABASE_URL=empty_database_url) == (
            0,
            "The schema is up to date.",
        )


def test_migrate_leaves_a_schema_that_is_newer_than_this_release(
    trials: Trials, database_url: str, connection: Connection
) -> None:
    connection.execute(text("UPDATE spoils_version SET version_num = '9999'"))
    assert trials.run("spoils", "migrate", DATABASE_URL=database_url) == (
        0,
        "The schema is newer than this release (revision 9999): nothing to do.",
    )
    assert connection.execute(text("SELECT version_num FROM spoils_version")).scalar_one() == "9999"


def test_migrate_takes_a_url_as_heroku_writes_it(trials: Trials, empty_database_url: str) -> None:
    url = empty_database_url.replace("postgresql://", "postgres://", 1)
    assert trials.run("spoils", "migrate", DATABASE_URL=url) == (0, "The schema is up to date.")


def test_check_lists_the_jobs_and_touches_no_database(trials: Trials) -> None:
    code, output = trials.run("spoils", "check", DATABASE_URL=NOWHERE)
    *listed, valid = output.splitlines()
    assert (code, valid) == (0, "The settings are valid; a worker process holds at most 6 connections.")
    assert "bulk: BulkJob, the queue's own" in listed
    assert "fetch_product: FetchProductJob, POST /api/jobs/fetch-product" in listed
    # Beside those, whatever a person has added.
    assert len(listed) == len({line.partition(":")[0] for line in listed}) >= 5


def test_adopt_gives_back_what_another_system_left_in_progress_and_nothing_else(
    trials: Trials, database_url: str, rows: Rows
) -> None:
    left = [rows.task(state="in_progress", retries=retries) for retries in (0, 2)]
    ours = rows.task(state="in_progress", claimed_by=rows.worker(), claimed_at="2026-11-24T02:00:00Z")
    ended = rows.task(state="failed")
    assert trials.run("spoils", "adopt", "--no-rust-workers", DATABASE_URL=database_url) == (
        0,
        "Released 2 tasks that another system had left in progress.",
    )
    assert [rows.state(task_id) for task_id in (*left, ours, ended)] == [
        "new",
        "retried",
        "in_progress",
        "failed",
    ]
    assert [rows.one(task_id).retries for task_id in left] == [0, 2]


def test_adopt_without_the_word_that_no_worker_runs_changes_nothing(
    trials: Trials, database_url: str, rows: Rows
) -> None:
    task_id = rows.task(state="in_progress")
    code, output = trials.run("spoils", "adopt", DATABASE_URL=database_url)
    assert code == 2
    assert "--no-rust-workers" in output
    assert rows.state(task_id) == "in_progress"


def test_adopt_is_refused_where_the_next_migrate_would_share_the_table_again(
    trials: Trials, database_url: str, rows: Rows
) -> None:
    task_id = rows.task(state="in_progress")
    shared = {"DATABASE_URL": database_url, "SPOILS_SHARED_WITH_FANG": "1"}
    code, output = trials.run("spoils", "adopt", "--no-rust-workers", **shared)
    assert (code, output) == (
        2,
        "SPOILS_SHARED_WITH_FANG is set: the next migrate would share the table again. Unset it first.",
    )
    assert rows.state(task_id) == "in_progress"


def test_adopt_gives_back_two_running_duplicates(trials: Trials, database_url: str, rows: Rows) -> None:
    assert trials.run("spoils", "migrate", DATABASE_URL=database_url, SPOILS_SHARED_WITH_FANG="1")[0] == 0
    left = [rows.task(state="in_progress", uniq_hash="a" * 64) for _ in range(2)]
    assert trials.run("spoils", "adopt", "--no-rust-workers", DATABASE_URL=database_url) == (
        0,
        "Released 2 tasks that another system had left in progress.",
    )
    assert [rows.state(task_id) for task_id in left] == ["new", "new"]


def test_recount_corrects_the_counts_and_reports_each(trials: Trials, database_url: str, rows: Rows) -> None:
    rows.task(state="failed")
    rows.connection.execute(
        text(
            "INSERT INTO spoils_counts (task_type, state, delta) SELECT task_type, state, 2 FROM spoils_counts"
        )
    )
    assert trials.run("spoils", "recount", DATABASE_URL=database_url) == (
        0,
        "sample failed -2\nCorrected 1 counts.",
    )
    assert trials.run("spoils", "recount", DATABASE_URL=database_url) == (0, "The counts were right.")


def test_check_reports_every_wrong_setting_at_once(trials: Trials) -> None:
    code, output = trials.run("spoils", "check", DATABASE_URL=NOWHERE, PORT="x", WORKER_THREADS="y")
    assert code == 2
    assert re.fullmatch(r"PORT is wrong: .*\. WORKER_THREADS is wrong: .*\.", output)


@pytest.mark.parametrize(
    "program",
    # The script is Python too; it puts another folder on the path than -m does.
    [["-m", "gunicorn"], [str(Path(sys.executable).parent / "gunicorn")]],
    ids=["module", "script"],
)
def test_gunicorn_does_not_start_with_a_wrong_setting(trials: Trials, program: list[str]) -> None:
    several = "postgresql://spoils:s3cret@one,other/spoils"
    arguments = [*program, "--config", "gunicorn.conf.py", "app:app"]
    with Program(*arguments, DATABASE_URL=several, WEB_CONCURRENCY="0", PORT="http") as started:
        assert started.ends() == 2
    assert "DATABASE_URL is wrong: it names several hosts" in started.output
    assert "WEB_CONCURRENCY is wrong" in started.output
    assert "PORT is wrong" in started.output
    assert "Traceback" not in started.output
    assert "s3cret" not in started.output


SERVING = pytest.mark.parametrize(
    "program", [["gunicorn", "app:app"], ["worker.py"]], ids=["gunicorn", "worker"]
)
GRANT = "Let the owner of that GRANT the role the right, or name another role."


def ends_with_2(trials: Trials, *program: str, database_url: str) -> str:
    """Run a program that may not start; the one sentence that it prints."""
    code, output = trials.run(*program, DATABASE_URL=database_url, PORT=str(free_port()))
    assert code == 2
    assert "Traceback" not in output
    return output.splitlines()[-1]


@pytest.fixture
def stranger(database_url: str, connection: Connection) -> Iterator[str]:
    """The URL of the test's database for a role that has no right to anything in it."""
    role = f"stranger_{uuid4().hex}"
    connection.exec_driver_sql(
        f"CREATE ROLE {role} LOGIN PASSWORD 'theirs'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    )
    yield make_url(database_url).set(username=role, password="theirs").render_as_string(hide_password=False)
    connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


@SERVING
def test_no_program_starts_with_a_role_that_may_not_read_its_tables(
    trials: Trials, stranger: str, program: list[str]
) -> None:
    assert (
        ends_with_2(trials, *program, database_url=stranger)
        == f"The database refuses the role of DATABASE_URL: permission denied for table spoils_version. {GRANT}"
    )


def test_migrate_with_a_role_that_may_not_create_tables_says_so(
    trials: Trials, stranger: str, connection: Connection
) -> None:
    connection.execute(text("DROP TABLE spoils_version"))
    connection.execute(text("ALTER TABLE fang_tasks RENAME TO away"))
    assert (
        ends_with_2(trials, "spoils", "migrate", database_url=stranger)
        == f"The database refuses the role of DATABASE_URL: permission denied for schema public. {GRANT}"
    )


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def other_encoding_url(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    yield from a_database(postgres_url, f"TEMPLATE template0 ENCODING '{request.param}' LOCALE 'C'")


def test_no_program_works_on_a_database_of_another_encoding(trials: Trials, other_encoding_url: str) -> None:
    for program in (
        ["gunicorn", "app:app"],
        ["app.py"],
        ["worker.py"],
        ["spoils", "migrate"],
        ["spoils", "dev"],
    ):
        assert re.fullmatch(
            "The database's encoding is (LATIN1|SQL_ASCII). Spoils needs UTF8: .*",
            ends_with_2(trials, *program, database_url=other_encoding_url),
        )


def test_a_worker_waits_for_a_server_that_starts_in_whatever_language_it_says_so() -> None:
    with FakePostgres(lambda number: STARTING if number < 4 else WRONG_PASSWORD) as server:
        with Program("worker.py", DATABASE_URL=server.url) as started:
            started.says("The database does not answer yet: .*система баз данных запускается")
            assert started.ends() == 2
        assert started.lines[-1].startswith("DATABASE_URL is wrong: ")


def test_psql_gets_the_password_from_its_environment(trials: Trials, tmp_path: Path) -> None:
    fake = tmp_path / "psql"
    fake.write_text('#!/bin/sh\necho "arguments: $*"\necho "password: $PGPASSWORD"\n')
    fake.chmod(0o755)
    code, output = trials.run(
        *("spoils", "psql", "--command", "SELECT 1"),
        DATABASE_URL="postgres://spoils:s3cret%2F%40@db.example/spoils?sslmode=require",
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )
    assert (code, output.splitlines()) == (
        0,
        [
            "arguments: postgresql://spoils@db.example/spoils?sslmode=require --command SELECT 1",
            "password: s3cret/@",
        ],
    )


def test_the_web_command_serves_until_it_is_stopped(database_url: str) -> None:
    port = free_port()
    with Program("-m", "spoils", "web", DATABASE_URL=database_url, PORT=str(port)) as web:
        web.says("Booting worker", timeout=40)
        assert requests.get(f"http://127.0.0.1:{port}/health", timeout=30).json() == {"status": "ok"}
        web.stop()
    assert "Traceback" not in web.output


def test_gunicorn_stops_with_exit_code_0(database_url: str) -> None:
    with Web(database_url) as web:
        assert requests.get(f"{web.url}/health", timeout=15).status_code == 200
        web.stop()
    assert "Traceback" not in web.output
