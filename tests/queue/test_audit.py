"""The audit trail: each verb leaves one entry, in its own transaction, and a delete can be undone."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from spoils.db.engine import transaction
from spoils.queue import actions, audit
from spoils.queue.actions import Change
from tests.locks import held
from tests.rows import Rows

STATES = ("new", "retried", "in_progress", "failed", "finished")
DIGEST = "d" * 64


def act(engine: Engine, verb: str, task_id: UUID, who: str = "admin") -> Change:
    with transaction(engine) as connection:
        return actions.act(connection, verb, task_id, who=who)


def entries(rows: Rows) -> list[tuple[object, ...]]:
    return rows.all(
        "SELECT who, verb, task_id, done, note, before ->> 'state', after ->> 'state' FROM spoils_audit ORDER BY id"
    )


@pytest.mark.parametrize(
    ("verb", "state", "after"),
    [
        ("retry", "failed", "new"),
        ("run_now", "retried", "retried"),
        ("cancel", "new", "failed"),
        ("cancel", "in_progress", "in_progress"),
        ("delete", "finished", None),
    ],
)
def test_what_was_done_is_entered_with_the_task_before_and_after(
    engine: Engine, rows: Rows, verb: str, state: str, after: str | None
) -> None:
    task_id = rows.task(state=state, due_in=60)
    assert act(engine, verb, task_id).done
    assert entries(rows) == [("admin", verb, task_id, True, None, state, after)]


def test_a_refusal_is_entered_with_its_reason_and_the_twin(engine: Engine, rows: Rows) -> None:
    failed, twin = rows.task(state="failed", uniq_hash=DIGEST), rows.task(uniq_hash=DIGEST)
    act(engine, "retry", failed)
    assert entries(rows) == [
        ("admin", "retry", failed, False, "the same unique job already waits.", "failed", "failed")
    ]
    assert rows.value("SELECT twin FROM spoils_audit") == twin


def test_a_verb_on_nothing_is_entered_too(engine: Engine, rows: Rows) -> None:
    task_id = uuid4()
    act(engine, "delete", task_id)
    assert entries(rows) == [("admin", "delete", task_id, False, "the job is gone.", None, None)]


def test_a_verb_that_is_rolled_back_leaves_no_entry_and_no_trash(engine: Engine, rows: Rows) -> None:
    task_id = rows.task(state="failed")
    with held(engine) as connection:
        assert actions.act(connection, "delete", task_id, who="admin").done
        connection.rollback()
    assert entries(rows) == []
    assert rows.value("SELECT count(*) FROM spoils_trash") == 0
    assert rows.state(task_id) == "failed"


@pytest.mark.parametrize("state", [state for state in STATES if state != "in_progress"])
def test_a_deleted_task_comes_back_as_it_was(engine: Engine, rows: Rows, state: str) -> None:
    task_id = rows.task(
        state=state,
        due_in=3600,
        metadata={"type": "SampleJob", "n": [1, {"ä": None}]},
        uniq_hash=DIGEST,
        retries=2,
        attempts=3,
        priority=-1,
        error_message="boom ' \" \\ ∞",
        claimed_by=uuid4(),
    )
    rows.connection.execute(text("UPDATE fang_tasks SET created_at = '2020-02-02 02:02:02.123456+00'"))
    before = rows.one(task_id)
    act(engine, "delete", task_id)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    assert act(engine, "restore", task_id) == Change(True, "Restored 1 job.")
    assert rows.one(task_id) == before
    assert rows.value("SELECT count(*) FROM spoils_trash") == 0
    assert [entry[1:2] + entry[5:] for entry in entries(rows)] == [
        ("delete", state, None),
        ("restore", None, state),
    ]


def test_what_was_due_comes_back_due_now_and_a_moment_without_end_stays(engine: Engine, rows: Rows) -> None:
    due, never = rows.task(due_in=-3600), rows.task()
    rows.connection.execute(
        text("UPDATE fang_tasks SET scheduled_at = 'infinity' WHERE id = :id"), {"id": never}
    )
    for task_id in (due, never):
        act(engine, "delete", task_id)
        act(engine, "restore", task_id)
    assert rows.value("SELECT now() - scheduled_at < interval '1 min' FROM fang_tasks WHERE id = :id", id=due)
    assert rows.value("SELECT scheduled_at = 'infinity' FROM fang_tasks WHERE id = :id", id=never)


@pytest.mark.parametrize("state", ["new", "retried", "in_progress"])
def test_a_waiting_task_whose_twin_is_active_stays_in_the_trash(
    engine: Engine, rows: Rows, state: str
) -> None:
    deleted = rows.task(uniq_hash=DIGEST)
    act(engine, "delete", deleted)
    twin = rows.task(state=state, uniq_hash=DIGEST)
    words = "is in progress" if state == "in_progress" else "already waits"
    assert act(engine, "restore", deleted) == Change(False, f"Refused: the same unique job {words}.", twin)
    assert rows.value("SELECT count(*) FROM spoils_trash") == 1


def test_an_ended_task_comes_back_beside_its_twin(engine: Engine, rows: Rows) -> None:
    deleted = rows.task(state="failed", uniq_hash=DIGEST)
    act(engine, "delete", deleted)
    rows.task(uniq_hash=DIGEST)
    assert act(engine, "restore", deleted).done
    assert rows.state(deleted) == "failed"


def test_a_restore_is_refused_where_there_is_nothing_to_restore(engine: Engine, rows: Rows) -> None:
    task_id = rows.task()
    assert "is not in the trash" in act(engine, "restore", task_id).sentence
    act(engine, "delete", task_id)
    rows.task(id=task_id)
    assert act(engine, "restore", task_id) == Change(False, "Refused: a job of this id is there.", task_id)


def test_a_column_that_somebody_added_is_kept(engine: Engine, rows: Rows) -> None:
    rows.connection.execute(text("ALTER TABLE fang_tasks ADD COLUMN tenant text"))
    try:
        task_id = rows.task(tenant="acme")
        act(engine, "delete", task_id)
        act(engine, "restore", task_id)
        assert rows.one(task_id).tenant == "acme"
    finally:
        rows.connection.execute(text("ALTER TABLE fang_tasks DROP COLUMN tenant"))


def test_the_counts_follow_what_goes_to_the_trash_and_back(engine: Engine, rows: Rows) -> None:
    task_id = rows.task(state="failed")
    for verb, number in (("delete", 0), ("restore", 1)):
        act(engine, verb, task_id)
        assert rows.value("SELECT sum(delta) FROM spoils_counts") == number


def test_what_is_enqueued_by_hand_and_what_is_done_about_a_type_are_entered(
    engine: Engine, rows: Rows
) -> None:
    task_id, again = rows.task(), rows.task(state="failed")
    with transaction(engine) as connection:
        audit.enter_enqueued(connection, task_id, who="admin", again=again)
        audit.enter_about(connection, "pause", "sample", who="admin", done=False)
        audit.enter_about(connection, "pause", "sample", who="admin", done=True)
    assert rows.all(
        "SELECT verb, task_id, about, done, twin, after ->> 'state' FROM spoils_audit ORDER BY id"
    ) == [
        ("enqueue", task_id, None, True, again, "new"),
        ("pause", None, "sample", False, None, None),
        ("pause", None, "sample", True, None, None),
    ]


def test_what_is_in_the_trash_is_told(engine: Engine, rows: Rows) -> None:
    task_id, other = rows.task(), rows.task()
    act(engine, "delete", task_id)
    assert actions.in_trash(rows.connection, task_id)
    assert not actions.in_trash(rows.connection, other)
    act(engine, "restore", task_id)
    assert not actions.in_trash(rows.connection, task_id)


def test_what_was_enqueued_by_hand_is_entered_as_it_is(engine: Engine, rows: Rows) -> None:
    rows.task(state="failed", retries=3)
    task_id = rows.task(priority=2)
    with transaction(engine) as connection:
        audit.enter_enqueued(connection, task_id, who="admin")
    ((after,),) = rows.all("SELECT after FROM spoils_audit")
    assert (after["state"], after["retries"]) == ("new", 0)
