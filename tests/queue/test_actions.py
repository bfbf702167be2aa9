"""The operator's actions on one task: each on each state, duplicates, and fifty clicks at once."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from spoils.db.engine import transaction
from spoils.queue.actions import Change, act
from spoils.queue.release import CANCELLED
from tests.locks import at_once, held, meanwhile
from tests.queue.hands import heard, take
from tests.rows import Rows
from tests.sample_jobs import UniqueSampleJob

STATES = ("new", "retried", "in_progress", "failed", "finished")
ALLOWED = {
    "retry": {"failed"},
    "run_now": {"new", "retried"},
    "cancel": {"new", "retried", "in_progress"},
    "delete": {"new", "retried", "failed", "finished"},
}


def press(engine: Engine, action: str, task_id: UUID) -> Change:
    with transaction(engine) as connection:
        return act(connection, action, task_id, who="admin")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ALLOWED)
def test_each_action_is_for_its_states_and_refuses_the_others_with_a_reason(
    engine: Engine, rows: Rows, action: str, state: str
) -> None:
    task_id = rows.task(
        state=state, attempts=3, due_in=60, claimed_by=uuid4() if state == "in_progress" else None
    )
    before = rows.one(task_id)
    change = press(engine, action, task_id)
    assert change.done is (state in ALLOWED[action])
    if change.done:
        assert "1" in change.sentence
        return
    assert rows.one(task_id) == before
    reason = "attempt 3 is in progress" if state == "in_progress" else f"the job is {state}"
    assert change.sentence.startswith(f"Refused: {reason}.")
    assert change.sentence.endswith(".")


def test_a_task_that_is_gone_is_said_to_be_gone(engine: Engine) -> None:
    for action in ALLOWED:
        assert press(engine, action, uuid4()) == Change(False, "Refused: the job is gone.")


def test_retry_makes_it_new_due_now_and_keeps_what_is_known_of_it(engine: Engine, rows: Rows) -> None:
    task_id = rows.task(
        state="failed",
        retries=3,
        crashes=3,
        attempts=7,
        error_message="ValueError: boom",
        claimed_by=uuid4(),
        due_in=900,
    )
    rows.connection.execute(
        text("UPDATE fang_tasks SET claimed_at = now(), cancel_requested_at = now(), priority = 1")
    )
    assert press(engine, "retry", task_id) == Change(True, "Retried 1 job.")
    row = rows.one(task_id)
    assert (row.state, row.retries, row.crashes, row.attempts, row.priority) == ("new", 0, 0, 7, 1)
    assert (row.claimed_by, row.claimed_at, row.cancel_requested_at) == (None, None, None)
    assert row.error_message == "ValueError: boom"
    assert row.scheduled_at == row.updated_at


def test_run_now_makes_it_due_and_never_later_than_it_was(engine: Engine, rows: Rows) -> None:
    later, earlier = rows.task(due_in=900), rows.task(due_in=-900)
    before = rows.one(earlier).scheduled_at
    press(engine, "run_now", later)
    press(engine, "run_now", earlier)
    assert rows.one(later).scheduled_at == rows.one(later).updated_at
    assert rows.one(earlier).scheduled_at == before


def test_cancel_fails_what_waits_and_asks_what_runs(engine: Engine, rows: Rows) -> None:
    waiting, running = rows.task(due_in=60), rows.task()
    me = rows.worker()
    take(rows.connection, me)
    assert press(engine, "cancel", waiting) == Change(True, "Cancelled 1 job.")
    row = rows.one(waiting)
    assert (row.state, row.error_message, row.cancel_requested_at) == ("failed", CANCELLED, None)
    assert press(engine, "cancel", running) == Change(True, "1 running job was asked to stop.")
    row = rows.one(running)
    assert (row.state, row.error_message, row.claimed_by) == ("in_progress", None, me)
    assert row.cancel_requested_at is not None


def test_a_cancelled_unique_task_is_out_of_the_way_of_its_duplicate(engine: Engine, rows: Rows) -> None:
    digest = UniqueSampleJob().uniq_hash()
    press(engine, "cancel", rows.task(uniq_hash=digest))
    rows.task(uniq_hash=digest)


@pytest.mark.parametrize(
    ("state", "words"),
    [("new", "already waits"), ("retried", "already waits"), ("in_progress", "is in progress")],
)
def test_retry_is_refused_where_a_duplicate_is_active_and_names_it(
    engine: Engine, rows: Rows, state: str, words: str
) -> None:
    digest = UniqueSampleJob().uniq_hash()
    failed, duplicate = rows.task(state="failed", uniq_hash=digest), rows.task(state=state, uniq_hash=digest)
    before = rows.one(failed)
    assert press(engine, "retry", failed) == Change(
        False, f"Refused: the same unique job {words}.", duplicate
    )
    assert rows.one(failed) == before


def test_retry_is_done_where_the_duplicate_has_ended(engine: Engine, rows: Rows) -> None:
    digest = UniqueSampleJob().uniq_hash()
    failed = rows.task(state="failed", uniq_hash=digest)
    rows.task(state="finished", uniq_hash=digest)
    rows.task(state="failed", uniq_hash=digest)
    assert press(engine, "retry", failed).done


def test_of_two_duplicates_that_are_retried_at_once_one_is(engine: Engine, rows: Rows) -> None:
    digest = UniqueSampleJob().uniq_hash()
    one, other = (rows.task(state="failed", uniq_hash=digest) for _ in range(2))
    with held(engine) as first:
        assert act(first, "retry", one, who="admin").done
        with meanwhile(engine, lambda connection: act(connection, "retry", other, who="admin")) as second:
            first.commit()
        assert second.result() == Change(False, "Refused: the same unique job already waits.", one)
    assert (rows.state(one), rows.state(other)) == ("new", "failed")


@pytest.mark.parametrize(("action", "state"), [("retry", "failed"), ("delete", "failed"), ("cancel", "new")])
def test_fifty_clicks_at_once_have_one_effect(engine: Engine, rows: Rows, action: str, state: str) -> None:
    task_id = rows.task(state=state, due_in=60)
    changes = [change for _ in range(2) for change in at_once(25, lambda _: press(engine, action, task_id))]
    assert [change.done for change in changes].count(True) == 1
    assert rows.all("SELECT done, count(*) FROM spoils_audit GROUP BY 1 ORDER BY 1") == [
        (False, 49),
        (True, 1),
    ]
    assert all(change.sentence.startswith("Refused: ") for change in changes if not change.done)


def test_a_delete_that_meets_a_claim_is_refused(engine: Engine, rows: Rows) -> None:
    task_id = rows.task()
    me = rows.worker()
    with held(engine) as claiming:
        take(claiming, me)
        with meanwhile(
            engine, lambda connection: act(connection, "delete", task_id, who="admin")
        ) as removing:
            claiming.commit()
        assert removing.result() == Change(False, "Refused: attempt 1 is in progress.")
    assert rows.state(task_id) == "in_progress"


def test_a_cancel_that_meets_a_claim_asks_what_runs(engine: Engine, rows: Rows) -> None:
    task_id = rows.task()
    with held(engine) as claiming:
        take(claiming, rows.worker())
        with meanwhile(
            engine, lambda connection: act(connection, "cancel", task_id, who="admin")
        ) as cancelling:
            claiming.commit()
        assert cancelling.result().sentence == "1 running job was asked to stop."
    before_and_after = "SELECT before ->> 'state', after ->> 'state' FROM spoils_audit"
    assert rows.all(before_and_after) == [("in_progress", "in_progress")]
    assert rows.state(task_id) == "in_progress"


@pytest.mark.parametrize(("action", "state"), [("retry", "failed"), ("run_now", "new")])
def test_workers_are_woken_at_the_commit(
    engine: Engine, direct: Engine, rows: Rows, action: str, state: str
) -> None:
    task_id = rows.task(state=state, due_in=60)
    with direct.connect() as listening:
        listening.execute(text("LISTEN spoils_tasks"))
        press(engine, action, task_id)
        assert heard(listening, 1) == ["0"]


def test_a_delete_keeps_the_attempts(engine: Engine, rows: Rows) -> None:
    task_id = rows.task(state="failed")
    rows.attempt(task_id)
    assert press(engine, "delete", task_id) == Change(True, "Deleted 1 job.")
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    assert rows.value("SELECT count(*) FROM spoils_attempts") == 1
    assert rows.value("SELECT task_id FROM spoils_trash") == task_id
