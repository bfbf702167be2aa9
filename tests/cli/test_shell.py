"""The commands for operators, each against a live database: what they print, their exit codes, and the audit log."""

import csv
import getpass
import io
import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, text
from werkzeug.security import check_password_hash

from spoils.cli.commands import main
from spoils.config import Settings
from spoils.job.cron import Cron
from spoils.masking import MASK
from spoils.models import PauseKind
from spoils.queue import bulk, pauses, schedules
from tests.rows import Rows
from tests.sample_jobs import SampleJob

Run = Callable[..., Result]
ME = f"shell: {getpass.getuser()}"
COMMANDS = (
    *("jobs", "show", "why", "retry", "cancel", "delete", "run-now", "stats", "workers", "pause", "resume"),
    *("schedules", "health", "export"),
)
NOODLES = {"type": "FetchProductJob", "barcode": "737628064502"}


@pytest.fixture
def run(database_url: str, rows: Rows) -> Run:
    """Call a command; `code` is the exit code that it must have."""

    def call(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments, env={"DATABASE_URL": database_url})
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return call


def failed(rows: Rows, number: int = 1, task_type: str = "fetch_product", ago: str = "0 s") -> list[UUID]:
    ids = [
        rows.task(
            state="failed",
            task_type=task_type,
            metadata=NOODLES,
            error_message="Unavailable: 503",
            attempts=4,
        )
        for _ in range(number)
    ]
    rows.connection.execute(
        text("UPDATE fang_tasks SET updated_at = now() - CAST(:ago AS interval) WHERE id = ANY(:ids)"),
        {"ago": ago, "ids": ids},
    )
    return ids


def audited(rows: Rows) -> list[tuple[object, ...]]:
    return rows.all("SELECT who, verb, done FROM spoils_audit ORDER BY id")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(run: Run, command: str) -> None:
    assert f"Usage: main {command}" in run(command, "--help").output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "x"), '"x" is not the id of a job: a UUID is required.'),
        (("why", str(UUID(int=7))), "There is no job 00000000-0000-0000-0000-000000000007."),
        (("jobs", "--state", "lost"), 'There is no state "lost". The states are new,'),
        (("jobs", "--since", "soon"), '"soon" is not a duration. Write one such as 30m, 1h or 2d.'),
        (("jobs", "--limit", "0"), "--limit is at least 1."),
        (("retry",), "Name jobs by their ids, or use --all"),
        (("retry", str(UUID(int=7)), "--all"), "Name jobs by their ids, or use --all"),
        (("retry", str(UUID(int=7)), "--state", "failed"), "Filters go with --all, and not with ids."),
        (("retry", "--all", "--state", "finished", "--yes"), "Only a failed job can be retried."),
        (("delete", "--all"), "--all needs --state"),
        (("stats", "--minutes", "0"), "--minutes is 1 to 1440."),
        (("pause", "nothing"), 'There is no task type "nothing". There are: '),
        (("pause", "nothing", "--schedule"), 'There is no schedule "nothing".'),
        (("export", "--json", "--csv"), "Choose either --json or --csv."),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    run: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    result = run(*arguments, code=2)
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("jobs",), "There are no jobs."),
        (("jobs", "--state", "failed"), "No jobs match."),
        (("retry", "--all", "--yes"), "Nothing to retry: no jobs match."),
        (("workers",), "No workers running."),
        (("stats",), "There are no jobs, and none ran lately."),
    ],
)
def test_nothing_found_is_a_sentence_and_no_error(
    run: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    assert run(*arguments).stdout == f"{sentence}\n"


def test_jobs_are_listed_by_state_type_and_age(run: Run, rows: Rows) -> None:
    (recent,) = failed(rows)
    (old,) = failed(rows, ago="3 h")
    (other,) = failed(rows, task_type="mail")
    waiting = rows.task(task_type="mail")

    def listed(*arguments: str) -> set[str]:
        return {line.split()[0] for line in run("jobs", *arguments).stdout.splitlines()[1:]}

    assert listed() == {str(one) for one in (recent, old, other, waiting)}
    assert listed("--state", "failed", "--type", "fetch_product", "--since", "1h") == {str(recent)}
    assert listed("--state", "waiting") == {str(waiting)}
    assert listed("--limit", "1") <= {str(one) for one in (recent, other, waiting)}
    line = run("jobs", "--type", "fetch_product", "--since", "1h").stdout.splitlines()[1]
    assert line.split("  ")[1:3] == ["failed", "fetch_product"]
    assert "barcode 737628064502 · Unavailable: 503" in line
    assert "\x1b" not in line  # colours are for terminals


def test_jobs_are_json_as_in_the_api_and_csv_without_formulas(run: Run, rows: Rows) -> None:
    task_id = rows.task(
        state="failed", metadata={"type": "SampleJob", "token": "s3cret"}, error_message="=HYPERLINK(1)"
    )
    (job,) = json.loads(run("jobs", "--json").stdout)
    assert (job["id"], job["state"], job["metadata"]["token"]) == (str(task_id), "failed", MASK)
    (row,) = csv.DictReader(io.StringIO(run("jobs", "--csv").stdout))
    assert (row["id"], row["error"]) == (str(task_id), "'=HYPERLINK(1)")
    assert "s3cret" not in row["metadata"]


def test_a_job_is_shown_with_its_attempts_and_why_it_waits(run: Run, rows: Rows) -> None:
    task_id = rows.task(
        state="retried", metadata={**NOODLES, "api_key": "s3cret"}, task_type="sample", due_in=600
    )
    rows.connection.execute(
        text(
            "INSERT INTO spoils_attempts (ended_at, claimed_at, task_id, task_type, attempt, outcome, error_class, "
            "message) VALUES (now(), now(), :id, 'sample', 1, 'retried', 'Unavailable', '503')"
        ),
        {"id": task_id},
    )
    shown = run("show", str(task_id)).stdout
    assert "retried" in shown
    assert "Unavailable: 503" in shown
    assert "s3cret" not in shown
    assert len(json.loads(run("show", str(task_id), "--json").stdout)["attempt_log"]) == 1
    assert "Not due until" in run("why", str(task_id)).stdout
    kinds = [one["kind"] for one in json.loads(run("why", str(task_id), "--json").stdout)["reasons"]]
    assert "not_due" in kinds
    assert "it is finished" in run("why", str(rows.task(state="finished"))).stdout


@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        ("retry", "failed", "new"),
        ("run-now", "new", "new"),
        ("cancel", "new", "failed"),
        ("delete", "failed", None),
    ],
)
def test_an_action_on_jobs_by_id_is_done_and_audited_as_the_user_s(
    run: Run, rows: Rows, command: str, before: str, after: str | None
) -> None:
    ids = [rows.task(state=before, due_in=600) for _ in range(2)]
    texts = [str(one) for one in ids]
    run(command, *texts, "--dry-run")
    assert audited(rows) == []
    run(command, *texts)
    assert rows.all("SELECT DISTINCT state::text FROM fang_tasks") == ([(after,)] if after else [])
    assert audited(rows) == [(ME, command.replace("-", "_"), True)] * 2


def test_a_refused_action_says_why_and_ends_with_1(run: Run, rows: Rows) -> None:
    running, gone = rows.task(state="in_progress"), uuid4()
    result = run("delete", str(running), str(gone), code=1)
    assert "is in progress." in result.stderr
    assert "the job is gone." in result.stderr
    assert audited(rows) == [(ME, "delete", False)] * 2


def test_an_action_on_all_is_shown_first_and_asks(run: Run, rows: Rows) -> None:
    failed(rows, 3)
    failed(rows, 1, ago="3 h")
    failed(rows, 2, "mail")
    filters = ("--all", "--state", "failed", "--type", "fetch_product", "--since", "1h")
    shown = run("retry", *filters, "--dry-run").stdout
    assert "Would retry 3 failed jobs of type fetch_product. Nothing was changed." in shown
    asked = run("retry", *filters, code=2)
    assert "Look at it with --dry-run, then add --yes." in asked.stderr
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'new'") == 0
    assert audited(rows) == []
    assert "Retried 3 jobs." in run("retry", *filters, "--yes").stdout
    by_type = "SELECT task_type, count(*) FROM fang_tasks WHERE state = 'failed' GROUP BY 1 ORDER BY 1"
    assert rows.all(by_type) == [("fetch_product", 1), ("mail", 2)]
    assert set(audited(rows)) == {(ME, "retry", True)}
    assert rows.all("SELECT who, done, total, ended_at IS NOT NULL FROM spoils_bulks") == [(ME, 3, 3, True)]


def test_an_action_on_all_is_done_in_parts_and_an_interruption_leaves_the_rest(
    run: Run, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(rows, 6)
    advance = bulk.advance
    calls: list[bool] = []

    def two_at_a_time(connection: Connection, bulk_id: UUID) -> bool:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(True)
        return advance(connection, bulk_id, chunk=2)

    monkeypatch.setattr(bulk, "advance", two_at_a_time)
    result = run("delete", "--all", "--state", "failed", "--yes")
    assert "Stopped." in result.stderr
    assert "Deleted 4 jobs." in result.stdout
    assert rows.value("SELECT count(*) FROM fang_tasks") == 2
    assert rows.value("SELECT count(*) FROM spoils_bulk_items") == 0
    assert rows.value("SELECT ended_at IS NOT NULL FROM spoils_bulks")


def test_waiting_stands_for_both_states(run: Run, rows: Rows) -> None:
    rows.task(due_in=600)
    rows.task(state="retried", due_in=600)
    rows.task(state="failed")
    run("run-now", "--all", "--state", "waiting", "--yes")
    assert (
        rows.value("SELECT count(*) FROM fang_tasks WHERE scheduled_at <= now() AND state <> 'failed'") == 2
    )


def test_the_queue_is_shown_in_figures(run: Run, rows: Rows) -> None:
    failed(rows, 2)
    rows.task(task_type="mail")
    stats = run("stats").stdout
    assert "mail" in stats
    assert json.loads(run("stats", "--json").stdout)["types"]["mail"]["waiting"] == 1
    rows.worker()
    assert "sample" in run("workers").stdout
    assert len(json.loads(run("workers", "--json").stdout)) == 1


def test_health_is_in_the_exit_code(run: Run, rows: Rows) -> None:
    rows.worker()
    assert "Healthy." in run("health").stdout
    rows.task(task_type="mail")
    assert "no running worker performs this type" in run("health", code=1).stdout


def test_a_type_and_a_schedule_are_paused_and_resumed(run: Run, rows: Rows, connection: Connection) -> None:
    schedules.create(
        connection, name="nightly", job=SampleJob(), payload={}, cron=Cron("0 2 * * *"), who="ann"
    )
    connection.execute(text("TRUNCATE spoils_audit"))
    for arguments in (("fetch_product",), ("nightly", "--schedule"), ("CleanupJob", "--schedule")):
        assert run("pause", *arguments).stdout == f"Paused {arguments[0]}.\n"
        assert "is already paused" in run("pause", *arguments, code=1).stderr
        assert run("resume", *arguments).stdout == f"Resumed {arguments[0]}.\n"
        assert "is not paused" in run("resume", *arguments, code=1).stderr
    each = [(ME, verb, done) for verb in ("pause", "resume") for done in (True, False)]
    assert audited(rows) == each * 3
    assert not pauses.paused(connection, PauseKind.TASK_TYPE)


def test_schedules_are_listed_with_their_next_tick(run: Run, connection: Connection) -> None:
    schedules.create(
        connection, name="nightly", job=SampleJob(), payload={}, cron=Cron("0 2 * * *"), who="ann"
    )
    listed = run("schedules").stdout
    assert "nightly" in listed
    assert "CleanupJob" in listed
    found = {one["name"]: one for one in json.loads(run("schedules", "--json").stdout)}
    assert (found["nightly"]["source"], found["CleanupJob"]["source"]) == ("runtime", "code")


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_an_export_writes_every_page_and_says_what_it_left_out(
    run: Run, rows: Rows, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoils.cli.job_reads._PAGE", 2)
    ids = {str(one) for one in failed(rows, 5)}
    file = tmp_path / "jobs"
    result = run("export", f"--{kind}", "--state", "failed", "--output", str(file))
    assert result.stderr == "Wrote 5 jobs.\n"
    lines = file.read_text().splitlines()
    found = (
        {json.loads(line)["id"] for line in lines} if kind == "json" else {line[:36] for line in lines[1:]}
    )
    assert found == ids
    result = run("export", f"--{kind}", "--limit", "3")
    assert "Wrote 3 jobs, and left out older ones: raise --limit." in result.stderr
    assert len(result.stdout.splitlines()) == (3 if kind == "json" else 4)


@pytest.mark.parametrize(
    ("password", "weak"),
    [
        ("short", "it has 5 characters"),
        ("password-password", "looks like a sample"),
        ("aaaaaaaaaaaaaa", "repeats"),
    ],
)
def test_a_weak_password_is_not_hashed(password: str, weak: str) -> None:
    result = CliRunner().invoke(main, ["hash-password"], input=f"{password}\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert weak in result.stderr


def test_the_hash_of_a_password_makes_an_entry_of_spoils_users() -> None:
    result = CliRunner().invoke(main, ["hash-password"], input="ruhig-Brot 91-Kiesel\n")
    assert result.exit_code == 0
    settings = Settings.from_env({"SPOILS_USERS": f"anna:admin:{result.stdout.strip()}"})
    assert [user.name for user in settings.users] == ["anna"]
    assert check_password_hash(settings.users[0].password_hash, "ruhig-Brot 91-Kiesel")
