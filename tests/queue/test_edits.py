"""Changing payloads: of one task, of one field of many, the duplicates that stand in the way, and undoing it."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import transaction
from spoils.job import wire
from spoils.models import TaskState
from spoils.queue import bulk
from spoils.queue.actions import RUNNING, WAITS, act, in_trash
from spoils.queue.edits import NOT_EDITED, ONLY, UNCHANGED, Mend, edit, revert
from spoils.queue.selection import Selection
from tests.queue.test_bulk import do as do_bulk
from tests.queue.test_bulk import reasons, step, totals
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob

FAILED = Selection(state=TaskState.FAILED)
SEVEN = Mend("number", 7)


def job(number: Any, **more: Any) -> dict[str, Any]:
    return {"type": SampleJob.__name__, "number": number, **more}


def unique(number: int) -> dict[str, Any]:
    payload = {"type": UniqueSampleJob.__name__, "number": number}
    return {"metadata": payload, "uniq_hash": wire.uniq_hash(payload)}


def mend(engine: Engine, selection: Selection, change: Mend) -> UUID:
    with transaction(engine) as connection:
        bulk_id = bulk.begin(connection, "mend", selection, who="ann", expected=0, mend=change)
    while step(engine, bulk_id):
        pass
    return bulk_id


def numbers(rows: Rows) -> list[tuple[Any, ...]]:
    return rows.all(
        "SELECT state::text, metadata -> 'number', count(*) FROM fang_tasks GROUP BY 1, 2 ORDER BY 1, 2"
    )


def test_one_field_of_three_thousand_failed_jobs_is_changed_and_changed_back(
    engine: Engine, rows: Rows
) -> None:
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, state, retries, attempts, error_message) "
            "SELECT jsonb_build_object('type', 'SampleJob', 'number', 1 + n % 3), 'sample', 'failed', 20, 21, 'no' "
            "FROM generate_series(0, 2999) AS n"
        )
    )
    bulk_id = mend(engine, FAILED, Mend("number", 7, (1,)))
    assert totals(rows, bulk_id) == (3000, 1000, 2000)
    assert numbers(rows) == [("failed", 2, 1000), ("failed", 3, 1000), ("new", 7, 1000)]
    assert set(reasons(rows, bulk_id).values()) == {UNCHANGED}
    assert rows.value("SELECT max(retries) FROM fang_tasks WHERE state = 'new'") == 0
    undone = do_bulk(engine, "revert", Selection(trash_of=bulk_id))
    assert totals(rows, undone) == (1000, 1000, 0)
    assert numbers(rows) == [("failed", number, 1000) for number in (1, 2, 3)]
    assert rows.all("SELECT DISTINCT retries, error_message FROM fang_tasks") == [(20, "no")]
    assert rows.value("SELECT count(*) FROM spoils_trash") == 0


def test_what_its_class_or_its_state_refuses_stays_as_it_is(engine: Engine, rows: Rows) -> None:
    tasks = {state: rows.task(state=state, attempts=3, metadata=job(1)) for state in TaskState}
    unknown = rows.task(state="failed", metadata={"type": "Nobody", "number": 1})
    list_ = rows.task(state="failed", metadata=[1])
    gone = uuid4()
    bulk_id = mend(engine, Selection(ids=(*tasks.values(), unknown, list_, gone)), SEVEN)
    no_class = "this program has no class of its name."
    assert reasons(rows, bulk_id) == {
        tasks[TaskState.IN_PROGRESS]: "attempt 3 is in progress.",
        tasks[TaskState.FINISHED]: f"the job is finished. {ONLY}.",
        unknown: no_class,
        list_: no_class,
        gone: "the job is gone.",
    }
    assert rows.state(tasks[TaskState.NEW]) == "new"
    assert rows.state(tasks[TaskState.RETRIED]) == "retried"
    assert rows.state(tasks[TaskState.FAILED]) == "new"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            Mend("number", "seven"),
            "The payload does not fit SampleJob: number: Input should be a valid integer.",
        ),
        (Mend("numbre", 7), 'SampleJob has no field "numbre".'),
        (Mend("number", 1), UNCHANGED),
        (Mend("number", 7, (True,)), UNCHANGED),
    ],
)
def test_a_change_that_the_class_refuses_is_refused_with_a_sentence(
    engine: Engine, rows: Rows, change: Mend, sentence: str
) -> None:
    task_id = rows.task(state="failed", metadata=job(1))
    assert reasons(rows, mend(engine, FAILED, change)) == {task_id: sentence}
    assert rows.one(task_id).metadata == job(1)
    assert rows.value("SELECT count(*) FROM spoils_trash") == 0


def test_the_hash_follows_the_payload_and_a_duplicate_is_refused(engine: Engine, rows: Rows) -> None:
    waiting = rows.task(**unique(7))
    first = rows.task(state="failed", **unique(1))
    with transaction(engine) as connection:
        (change,) = edit(connection, SEVEN, [first], who="ann")
    assert (change.sentence, change.duplicate) == (f"Refused: {WAITS}", waiting)
    rows.connection.execute(
        text("UPDATE fang_tasks SET state = 'in_progress' WHERE id = :id"), {"id": waiting}
    )
    with transaction(engine) as connection:
        (change,) = edit(connection, SEVEN, [first], who="ann")
    assert (change.sentence, change.duplicate) == (f"Refused: {RUNNING}", waiting)
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'finished' WHERE id = :id"), {"id": waiting})
    second = rows.task(state="failed", **unique(2))
    with transaction(engine) as connection:
        changes = edit(connection, SEVEN, [first, second], who="ann")
    assert [change.done for change in changes] == [True, False], "equal jobs of one list: only the first"
    assert rows.one(first).uniq_hash == unique(7)["uniq_hash"]
    # Its old place is taken meanwhile by a job of the old payload, which waits: as a failed job it holds no hash.
    rows.task(**unique(1))
    with transaction(engine) as connection:
        assert revert(connection, [first], who="ann")[0].done
    assert (rows.state(first), rows.one(first).uniq_hash) == ("failed", unique(1)["uniq_hash"])


def test_an_edit_that_would_take_the_place_of_a_duplicate_is_not_undone(engine: Engine, rows: Rows) -> None:
    edited = rows.task(**unique(1))
    with transaction(engine) as connection:
        assert edit(connection, SEVEN, [edited], who="ann")[0].done
    other = rows.task(**unique(1))
    with transaction(engine) as connection:
        (change,) = revert(connection, [edited], who="ann")
    assert (change.sentence, change.duplicate) == (f"Refused: {WAITS}", other)


def test_both_are_in_the_audit_log_with_what_changed_and_no_secret(engine: Engine, rows: Rows) -> None:
    task_id = rows.task(state="failed", metadata={"type": "SampleJob", "number": 1, "api_token": "hunter2"})
    with transaction(engine) as connection:
        edit(connection, SEVEN, [task_id], who="ann")
        revert(connection, [task_id], who="ben")
    entries = rows.all("SELECT who, verb, before, after FROM spoils_audit ORDER BY id")
    assert [(who, verb) for who, verb, _, _ in entries] == [("ann", "edit"), ("ben", "revert")]
    assert entries[0][2]["payload"]["number"] == 1
    assert entries[0][3]["payload"] == {"number": 7}
    assert (entries[0][2]["state"], entries[0][3]["state"]) == ("failed", "new")
    assert "hunter2" not in str(entries)


def test_a_job_that_has_run_since_is_not_changed_back(
    connection: Connection, engine: Engine, rows: Rows
) -> None:
    task_id = rows.task(state="failed", attempts=1, metadata=job(1))
    untouched = rows.task(state="failed", metadata=job(1))
    with transaction(engine) as changing:
        edit(changing, SEVEN, [task_id], who="ann")
    connection.execute(text("UPDATE fang_tasks SET state = 'finished' WHERE id = :id"), {"id": task_id})
    with transaction(engine) as changing:
        changes = revert(changing, [task_id, untouched], who="ann")
    assert [change.sentence for change in changes] == [
        f"Refused: the job is finished. {ONLY}.",
        f"Refused: {NOT_EDITED}",
    ]


def test_an_edit_is_no_delete_and_a_later_delete_is_restored_with_the_new_payload(
    engine: Engine, rows: Rows
) -> None:
    task_id = rows.task(state="failed", metadata=job(1))
    with transaction(engine) as connection:
        edit(connection, SEVEN, [task_id], who="ann")
        assert not in_trash(connection, task_id)
        assert act(connection, "delete", task_id, who="ann").done
        assert act(connection, "restore", task_id, who="ann").done
        assert not act(connection, "restore", task_id, who="ann").done
    assert rows.one(task_id).metadata == job(7)
