"""Verbs on many: the list that is fixed, each verb on each state, twins, races, and going on after a death."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from spoils.db.engine import transaction
from spoils.models import TaskState
from spoils.queue import bulk
from spoils.queue.actions import OLDER_DUPLICATE, act
from spoils.queue.selection import Selection, count
from tests.locks import held, meanwhile
from tests.queue.hands import heard
from tests.rows import Rows

STATES = ("new", "retried", "in_progress", "failed", "finished")
ALLOWED = {
    "retry": {"failed"},
    "run_now": {"new", "retried"},
    "cancel": {"new", "retried", "in_progress"},
    "delete": {"new", "retried", "failed", "finished"},
}


def do(engine: Engine, verb: str, selection: Selection, *, chunk: int = bulk.CHUNK) -> UUID:
    with transaction(engine) as connection:
        number = count(connection, selection)
        bulk_id = bulk.begin(connection, verb, selection, who="admin", expected=number)
    while step(engine, bulk_id, chunk=chunk):
        pass
    return bulk_id


def step(engine: Engine, bulk_id: UUID, *, chunk: int = bulk.CHUNK) -> bool:
    with transaction(engine) as connection:
        return bulk.advance(connection, bulk_id, chunk=chunk)


def told(rows: Rows, bulk_id: UUID) -> tuple[Any, ...]:
    return rows.all("SELECT total, done, refused FROM spoils_bulks WHERE id = :id", id=bulk_id)[0]


def reasons(rows: Rows, bulk_id: UUID) -> dict[UUID, str]:
    return dict(
        rows.all("SELECT task_id, note FROM spoils_audit WHERE bulk_id = :id AND NOT done", id=bulk_id)
    )


def failed_at(rows: Rows, seconds: float, **columns: Any) -> UUID:
    task_id = rows.task(state="failed", **columns)
    rows.connection.execute(
        text("UPDATE fang_tasks SET updated_at = now() - make_interval(secs => :s) WHERE id = :id"),
        {"s": seconds, "id": task_id},
    )
    return task_id


@pytest.mark.parametrize("verb", ALLOWED)
def test_each_verb_is_done_where_the_state_allows_it_and_refused_elsewhere(
    engine: Engine, rows: Rows, verb: str
) -> None:
    tasks = {state: rows.task(state=state, attempts=3, due_in=60) for state in STATES}
    gone = uuid4()
    bulk_id = do(engine, verb, Selection(ids=(*tasks.values(), gone)), chunk=2)
    assert told(rows, bulk_id) == (6, len(ALLOWED[verb]), 6 - len(ALLOWED[verb]))
    refused = reasons(rows, bulk_id)
    assert refused.keys() == {gone} | {tasks[state] for state in STATES if state not in ALLOWED[verb]}
    assert refused[gone] == "the job is gone."
    if "in_progress" not in ALLOWED[verb]:
        assert refused[tasks["in_progress"]] == "attempt 3 is in progress."
    for state in set(STATES) - ALLOWED[verb] - {"in_progress"}:
        assert refused[tasks[state]].startswith(f"the job is {state}. ")
        assert rows.state(tasks[state]) == state
    assert rows.value("SELECT count(*) FROM spoils_audit WHERE done") == len(ALLOWED[verb])
    assert rows.value("SELECT count(*) FROM spoils_bulk_items") == 0


def test_it_does_to_each_what_the_single_verb_does(engine: Engine, rows: Rows) -> None:
    failed = rows.task(state="failed", retries=3, crashes=2, claimed_by=uuid4(), due_in=900)
    do(engine, "retry", Selection(ids=(failed,)))
    row = rows.one(failed)
    assert (row.state, row.retries, row.crashes, row.claimed_by) == ("new", 0, 0, None)
    later, running = rows.task(due_in=900), rows.task(state="in_progress")
    do(engine, "run_now", Selection(ids=(later,)))
    assert rows.value("SELECT scheduled_at <= now() FROM fang_tasks WHERE id = :id", id=later)
    do(engine, "cancel", Selection(ids=(later, running)))
    assert (rows.one(later).state, rows.one(later).error_message) == ("failed", "Cancelled by an operator.")
    assert rows.one(running).cancel_requested_at is not None


@pytest.mark.parametrize("verb", ALLOWED)
@pytest.mark.parametrize("state", STATES)
def test_one_task_and_many_are_refused_for_the_same_reason(
    engine: Engine, rows: Rows, verb: str, state: str
) -> None:
    digest = "a" * 64
    task_id = rows.task(state=state, uniq_hash=digest, attempts=3)
    if state in ("failed", "finished"):
        rows.task(uniq_hash=digest)
    bulk_id = do(engine, verb, Selection(ids=(task_id,)))
    refused = reasons(rows, bulk_id)
    rows.connection.execute(text("DELETE FROM fang_tasks"))
    task_id = rows.task(id=task_id, state=state, uniq_hash=digest, attempts=3)
    if state in ("failed", "finished"):
        rows.task(uniq_hash=digest)
    with transaction(engine) as connection:
        change = act(connection, verb, task_id, who="admin")
    assert ([] if change.done else [change.sentence]) == [f"Refused: {one}" for one in refused.values()]


def test_the_trail_has_the_task_before_and_after(engine: Engine, rows: Rows) -> None:
    do(engine, "retry", Selection(ids=(rows.task(state="failed", retries=2),)))
    assert rows.all(
        "SELECT who, verb, before ->> 'state', before ->> 'retries', after ->> 'state', after ->> 'retries' "
        "FROM spoils_audit"
    ) == [("admin", "retry", "failed", "2", "new", "0")]


def test_a_filter_means_what_it_found_at_its_moment_by_state_and_type(engine: Engine, rows: Rows) -> None:
    wanted = [rows.task(state="failed") for _ in range(3)]
    others = [rows.task(state="failed", task_type="mail"), rows.task(state="finished")]
    selection = Selection(
        state=TaskState.FAILED, task_type="sample", until=rows.value("SELECT clock_timestamp()")
    )
    with transaction(engine) as connection:
        assert count(connection, selection) == 3
    later = rows.task(state="failed")
    bulk_id = do(engine, "retry", selection, chunk=2)
    assert told(rows, bulk_id) == (3, 3, 0)
    assert {rows.state(one) for one in wanted} == {"new"}
    assert [rows.state(one) for one in (*others, later)] == ["failed", "finished", "failed"]


def test_no_filter_finds_the_job_that_does_it(engine: Engine, rows: Rows) -> None:
    own = rows.task(task_type="bulk")
    selection = Selection(state=TaskState.NEW, until=rows.value("SELECT clock_timestamp()"))
    with transaction(engine) as connection:
        assert count(connection, selection) == 0
    do(engine, "cancel", selection)
    assert rows.state(own) == "new"


def test_a_group_of_failures_is_found_by_its_key_whatever_else_is_on_record(
    engine: Engine, rows: Rows
) -> None:
    def failed(outcome: str, fingerprint: str | None, attempts: int = 2, message: str = "boom 1") -> UUID:
        task_id = rows.task(state="failed", attempts=attempts, error_message=message)
        rows.connection.execute(
            text(
                "INSERT INTO spoils_attempts (task_id, attempt, task_type, outcome, ended_at, fingerprint, message) "
                "VALUES (:id, 2, 'sample', :outcome, now(), :fingerprint, :message)"
            ),
            {"id": task_id, "outcome": outcome, "fingerprint": fingerprint, "message": message},
        )
        return task_id

    mine = failed("failed", "abc")
    failed("failed", "other")
    failed("retried", "abc")  # it was cancelled while it waited
    failed("failed", "abc", attempts=3)  # its last failure is another one
    selection = Selection(group="abc", until=rows.value("SELECT clock_timestamp()"))
    with transaction(engine) as connection:
        assert count(connection, selection) == 1
    do(engine, "retry", selection)
    assert rows.all("SELECT id FROM fang_tasks WHERE state = 'new'") == [(mine,)]


def test_of_failed_twins_the_one_that_failed_last_is_retried_across_chunks_too(
    engine: Engine, rows: Rows
) -> None:
    digest = "a" * 64
    old, newest, middle = (failed_at(rows, s, uniq_hash=digest) for s in (300, 100, 200))
    others = [failed_at(rows, s, uniq_hash=f"{s:064}") for s in (50, 150, 250)]
    bulk_id = do(engine, "retry", Selection(ids=(old, newest, middle, *others)), chunk=1)
    assert told(rows, bulk_id) == (6, 4, 2)
    assert reasons(rows, bulk_id) == {old: OLDER_DUPLICATE, middle: OLDER_DUPLICATE}
    assert {rows.state(one) for one in (newest, *others)} == {"new"}


def test_an_older_twin_stays_failed_even_where_the_newest_has_run_meanwhile(
    engine: Engine, rows: Rows
) -> None:
    old, newest = (failed_at(rows, s, uniq_hash="a" * 64) for s in (300, 100))
    with transaction(engine) as connection:
        selection = Selection(ids=(old, newest))
        bulk_id = bulk.begin(connection, "retry", selection, who="admin", expected=2)
    assert step(engine, bulk_id)
    assert step(engine, bulk_id, chunk=1)
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'finished' WHERE state = 'new'"))
    assert not step(engine, bulk_id, chunk=1)
    assert (rows.state(old), rows.state(newest)) == ("failed", "finished")


@pytest.mark.parametrize(("state", "words"), [("new", "already waits"), ("in_progress", "is in progress")])
def test_a_twin_that_waits_or_runs_is_told_and_linked(
    engine: Engine, rows: Rows, state: str, words: str
) -> None:
    failed = rows.task(state="failed", uniq_hash="a" * 64)
    twin = rows.task(state=state, uniq_hash="a" * 64)
    bulk_id = do(engine, "retry", Selection(ids=(failed,)))
    assert reasons(rows, bulk_id) == {failed: f"the same unique job {words}."}
    assert rows.value("SELECT twin FROM spoils_audit") == twin


def test_a_chunk_that_meets_a_twin_while_it_runs_is_redone_row_by_row(engine: Engine, rows: Rows) -> None:
    tasks = [failed_at(rows, s, uniq_hash=f"{s:064}") for s in (1, 2, 3)]
    older = failed_at(rows, 9, uniq_hash=f"{3:064}")
    with transaction(engine) as connection:
        bulk_id = bulk.begin(connection, "retry", Selection(ids=(*tasks, older)), who="admin", expected=4)
    assert step(engine, bulk_id)
    with held(engine) as enqueueing:
        enqueueing.execute(
            text("INSERT INTO fang_tasks (metadata, task_type, uniq_hash) VALUES ('{}', 'sample', :hash)"),
            {"hash": f"{2:064}"},
        )
        with meanwhile(engine, lambda connection: bulk.advance(connection, bulk_id)) as advancing:
            enqueueing.commit()
        assert advancing.result() is False
    assert told(rows, bulk_id) == (4, 2, 2)
    assert reasons(rows, bulk_id) == {tasks[1]: "the same unique job already waits.", older: OLDER_DUPLICATE}
    assert [rows.state(one) for one in tasks] == ["new", "failed", "new"]


def test_a_task_that_is_claimed_meanwhile_is_refused(engine: Engine, rows: Rows) -> None:
    task_id = rows.task()
    with transaction(engine) as connection:
        bulk_id = bulk.begin(connection, "delete", Selection(ids=(task_id,)), who="admin", expected=1)
    assert step(engine, bulk_id)
    with held(engine) as claiming:
        claiming.execute(text("UPDATE fang_tasks SET state = 'in_progress', attempts = 1"))
        with meanwhile(engine, lambda connection: bulk.advance(connection, bulk_id)) as advancing:
            claiming.commit()
        advancing.result()
    assert reasons(rows, bulk_id) == {task_id: "attempt 1 is in progress."}


def test_whoever_goes_on_after_a_death_does_each_task_once(engine: Engine, rows: Rows) -> None:
    for _ in range(5):
        rows.task(state="failed")
    selection = Selection(state=TaskState.FAILED, until=rows.value("SELECT clock_timestamp()"))
    with transaction(engine) as connection:
        bulk_id = bulk.begin(connection, "retry", selection, who="admin", expected=5)
    assert step(engine, bulk_id)
    assert step(engine, bulk_id, chunk=2)
    with held(engine) as dying:
        assert bulk.advance(dying, bulk_id, chunk=2)
        dying.rollback()
    while step(engine, bulk_id, chunk=2):
        pass
    assert told(rows, bulk_id) == (5, 5, 0)
    assert rows.value("SELECT count(*) FROM spoils_audit") == 5
    assert step(engine, bulk_id) is False


def test_two_that_work_at_one_bulk_do_each_task_once(engine: Engine, rows: Rows) -> None:
    for _ in range(4):
        rows.task(state="failed")
    selection = Selection(state=TaskState.FAILED, until=rows.value("SELECT clock_timestamp()"))
    with transaction(engine) as connection:
        bulk_id = bulk.begin(connection, "retry", selection, who="admin", expected=4)
    assert step(engine, bulk_id)
    with held(engine) as first:
        assert bulk.advance(first, bulk_id, chunk=2)
        with meanwhile(engine, lambda connection: bulk.advance(connection, bulk_id, chunk=2)) as second:
            first.commit()
        assert second.result() is False
    assert told(rows, bulk_id) == (4, 4, 0)


def test_a_chunk_is_one_statement_on_the_tasks(engine: Engine, rows: Rows) -> None:
    for _ in range(50):
        rows.task(state="failed")
    selection = Selection(state=TaskState.FAILED, until=rows.value("SELECT clock_timestamp()"))
    with transaction(engine) as connection:
        bulk_id = bulk.begin(connection, "delete", selection, who="admin", expected=50)
    assert step(engine, bulk_id)
    statements: list[str] = []

    def record(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    assert not step(engine, bulk_id)
    event.remove(engine, "before_cursor_execute", record)
    assert len([one for one in statements if "fang_tasks" in one]) == 1


def test_workers_are_woken_once_the_chunk_is_committed(engine: Engine, direct: Engine, rows: Rows) -> None:
    task_id = rows.task(state="failed")
    with direct.connect() as listening:
        listening.execute(text("LISTEN spoils_tasks"))
        do(engine, "retry", Selection(ids=(task_id,)))
        assert heard(listening, 1) == ["0"]


def test_what_a_bulk_deleted_comes_back_but_for_what_is_taken_or_there_again(
    engine: Engine, rows: Rows
) -> None:
    plain, unique, doubled = rows.task(state="failed"), rows.task(uniq_hash="a" * 64), rows.task()
    before = rows.one(plain)
    deleting = do(engine, "delete", Selection(ids=(plain, unique, doubled)))
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    twin = rows.task(uniq_hash="a" * 64)
    rows.task(id=doubled)
    restoring = do(engine, "restore", Selection(trash_of=deleting), chunk=2)
    assert told(rows, restoring) == (3, 1, 2)
    assert reasons(rows, restoring) == {
        unique: "the same unique job already waits.",
        doubled: "a job of this id is there.",
    }
    assert rows.one(plain) == before
    assert rows.all("SELECT twin FROM spoils_audit WHERE task_id = :id AND NOT done", id=unique) == [(twin,)]
    assert {task_id for (task_id,) in rows.all("SELECT task_id FROM spoils_trash")} == {unique, doubled}
    assert rows.value("SELECT sum(delta) FROM spoils_counts") == 3


def test_a_list_of_nothing_ends_at_once(engine: Engine, rows: Rows) -> None:
    bulk_id = do(engine, "restore", Selection(trash_of=uuid4()))
    assert told(rows, bulk_id) == (0, 0, 0)
    assert rows.value("SELECT ended_at IS NOT NULL FROM spoils_bulks")


def test_a_selection_reads_back_as_itself(rows: Rows) -> None:
    for one in (
        Selection(ids=(uuid4(), uuid4())),
        Selection(trash_of=uuid4()),
        Selection(
            state=TaskState.FAILED, task_type="x", group="abc", until=rows.value("SELECT clock_timestamp()")
        ),
    ):
        assert Selection.from_json(one.as_json()) == one


def test_two_that_work_side_by_side_keep_to_their_own_lists(engine: Engine, rows: Rows) -> None:
    retried, deleted = (tuple(rows.task(state="failed") for _ in range(4)) for _ in range(2))
    with transaction(engine) as connection:
        retrying = bulk.begin(connection, "retry", Selection(ids=retried), who="admin", expected=4)
        deleting = bulk.begin(connection, "delete", Selection(ids=deleted), who="admin", expected=4)
    for _ in range(4):
        step(engine, retrying, chunk=2)
        step(engine, deleting, chunk=2)
    assert [told(rows, each) for each in (retrying, deleting)] == [(4, 4, 0), (4, 4, 0)]
    assert {task_id for (task_id,) in rows.all("SELECT id FROM fang_tasks WHERE state = 'new'")} == {*retried}
    assert rows.value("SELECT count(*) FROM fang_tasks") == 4


def test_how_far_it_has_come_is_read_anew_each_time(engine: Engine, rows: Rows) -> None:
    ids = tuple(rows.task(state="failed") for _ in range(3))
    with transaction(engine) as connection:
        bulk_id = bulk.begin(connection, "delete", Selection(ids=ids), who="admin", expected=3)
    with Session(engine) as session:
        assert (found := bulk.find(session, bulk_id)) is not None
        assert found.done == 0
        while step(engine, bulk_id):
            pass
        assert (found := bulk.find(session, bulk_id)) is not None
        assert found.done == 3
