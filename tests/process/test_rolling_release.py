"""Workers of two releases side by side: each job is performed by a release that it fits, and none fails for it."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tests.faults.workers import all_end
from tests.programs import Program, worker
from tests.rows import Rows
from tests.support import eventually

pytestmark = pytest.mark.process

BASE = """
from sqlalchemy import text

from spoils import Job, Queue


class PaymentJob(Job):
    task_type = "payments"
    order_id: int

    def run(self, queue: Queue) -> None:
        queue.session.execute(
            text("INSERT INTO effects (name, task_id) VALUES (:release, :id)"),
            {"release": __name__, "id": queue.task_id},
        )
"""
CHARGE = {"type": "Charge", "order_id": 1}
EITHER = {"old", "new"}


def a_class(name: str, *lines: str, base: str = "PaymentJob") -> str:
    body = "".join(f"    {line}\n" for line in (f'endpoint = "{name.lower()}"', *lines))
    return f"\n\nclass {name}({base}):\n{body}"


OLD = (
    a_class("Charge")
    + a_class("Renamed")
    + a_class("Kept")
    + a_class("Removed")
    + a_class("Optional")
    + a_class("Required")
    + a_class("Fewer", "currency: str")
)
NEW = (
    a_class("Charge")
    + a_class("Added")
    + a_class("NewName")
    + a_class("NewNameOfKept")
    + a_class("Kept", base="NewNameOfKept")
    + a_class("Optional", 'currency: str = "EUR"')
    + a_class("Required", "currency: str")
    + a_class("Fewer")
)
OF_THE_OLD_RELEASE = {
    "Charge": EITHER,
    "Renamed": {"old"},
    "Kept": EITHER,
    "Removed": {"old"},
    "Optional": EITHER,
    "Required": {"old"},
}
OF_THE_NEW_RELEASE = {
    "Charge": EITHER,
    "Added": {"new"},
    "NewName": {"new"},
    "NewNameOfKept": {"new"},
    "Kept": EITHER,
    "Fewer": {"new"},
}
WITH_A_FIELD_MORE = {"Charge": EITHER, "Optional": {"new"}, "Required": {"new"}, "Fewer": {"old"}}


def release(folder: Path, name: str, classes: str, database_url: str) -> Program:
    """Start a worker of a release whose job classes are in a module of that name."""
    (folder / f"{name}.py").write_text(BASE + classes)
    return worker(database_url, SPOILS_JOBS=name, PYTHONPATH=str(folder), WORKER_THREADS="2")


def both_know_of_each_other(rows: Rows) -> None:
    """Wait until each of the two workers has sent a heartbeat since the other one registered."""
    live = "FROM spoils_workers WHERE ended_at IS NULL"
    eventually(lambda: rows.value(f"SELECT count(*) {live}") == 2, 20)
    since = rows.value("SELECT clock_timestamp()")
    eventually(lambda: bool(rows.value(f"SELECT min(beat_at) > :since {live}", since=since)), 20)


def payments(rows: Rows, kinds: dict[str, set[str]], **fields: str) -> dict[object, set[str]]:
    """Insert five rows of each class, and return the releases that may perform each."""
    return {
        rows.task(task_type="payments", metadata={**CHARGE, "type": job, **fields}): releases
        for _ in range(5)
        for job, releases in kinds.items()
    }


def test_each_job_is_performed_by_a_release_that_it_fits(
    database_url: str, rows: Rows, tmp_path: Path
) -> None:
    with release(tmp_path, "old", OLD, database_url), release(tmp_path, "new", NEW, database_url):
        both_know_of_each_other(rows)
        expected = {
            **payments(rows, OF_THE_OLD_RELEASE),
            **payments(rows, OF_THE_NEW_RELEASE),
            **payments(rows, WITH_A_FIELD_MORE, currency="USD"),
        }
        all_end(rows, expected.keys(), timeout=90)  # type: ignore[arg-type]
    performed = rows.all(
        "SELECT effects.task_id, effects.name, metadata->>'type' FROM effects JOIN fang_tasks AS task "
        "ON task.id = effects.task_id"
    )
    assert len(performed) == len(expected)
    assert [one for one in performed if one[1] not in expected[one[0]]] == []
    assert rows.value("SELECT max(retries) FROM fang_tasks") == 0


def test_what_only_the_old_release_could_read_fails_once_its_workers_have_stopped(
    database_url: str, rows: Rows, tmp_path: Path
) -> None:
    neither = {"type": "Required"}
    with release(tmp_path, "new", NEW, database_url) as program:
        with release(tmp_path, "old", OLD, database_url) as old:
            both_know_of_each_other(rows)
            task_id = rows.task(task_type="payments", metadata=neither)
            eventually(lambda: rows.one(task_id).attempts >= 2, 30)
            assert rows.state(task_id) in ("new", "in_progress")
            old.stop()
        error = rows.becomes(task_id, "failed", 60).error_message
        assert error.startswith("The payload does not fit Required: ")
        program.says("Failed Required: ")
        ignored = rows.task(task_type="payments", metadata={**CHARGE, "other": 1})
        rows.becomes(ignored, "finished")


def test_jobs_of_a_class_that_no_worker_knows_wait_for_one_that_does_and_delay_no_other(
    database_url: str, connection: Connection, rows: Rows, tmp_path: Path
) -> None:
    def put(number: int) -> None:
        connection.execute(
            text(
                "INSERT INTO fang_tasks (metadata, task_type) SELECT "
                "jsonb_build_object('type', 'Added', 'order_id', 1), 'payments' FROM generate_series(1, :number)"
            ),
            {"number": number},
        )

    waiting = "SELECT count(*), max(attempts) FROM fang_tasks WHERE state = 'new'"
    put(10_000)
    with release(tmp_path, "old", OLD, database_url):
        known = [rows.task(task_type="payments", metadata=CHARGE) for _ in range(50)]
        all_end(rows, known, timeout=20)
        assert rows.all(waiting) == [(10_000, 0)]
        connection.execute(text("DELETE FROM fang_tasks"))
        put(50)
        with release(tmp_path, "new", NEW, database_url):
            eventually(lambda: rows.all(waiting) == [(0, None)], 30)
            eventually(
                lambda: rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'finished'") == 50, 30
            )
