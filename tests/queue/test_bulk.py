"""Actions on many tasks: the fixed list, duplicates, races, resuming after a death, and what can be read of them."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from spoils.db.engine import transaction
from spoils.models import TaskState
from spoils.queue import bulk
from spoils.queue.actions import OLDER_DUPLICATE
from spoils.queue.selection import Selection, count
from spoils.reports import bulk_actions
from tests.locks import held, meanwhile
from tests.rows import Rows

FAILED = Selection(state=TaskState.FAILED)


def do(engine: Engine, action: str, selection: Selection, *, chunk: int = bulk.CHUNK) -> UUID:
    with transaction(engine) as connection:
        number = count(connection, selection)
        bulk_id = bulk.begin(connection, action, selection, who="admin", expected=number)
    while step(engine, bulk_id, chunk=chunk):
        pass
    return bulk_id


def step(engine: Engine, bulk_id: UUID, *, chunk: int = bulk.CHUNK) -> bool:
    with transaction(engine) as connection:
        return bulk.advance(connection, bulk_id, chunk=chunk)


def totals(rows: Rows, bulk_id: UUID) -> tuple[Any, ...]:
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


def begun(engine: Engine, action: str, selection: Selection) -> UUID:
    """A bulk action whose list is made."""
    with transaction(engine) as connection:
        number = count(connection, selection)
        bulk_id = bulk.begin(connection, action, selection, who="admin", expected=number)
    assert step(engine, bulk_id)
    return bulk_id


def test_what_its_state_allows_is_done_and_the_others_are_refused_with_their_reasons(
    engine: Engine, rows: Rows
) -> None:
    tasks = {state: rows.task(state=state, attempts=3) for state in TaskState}
    gone = uuid4()
    bulk_id = do(engine, "delete", Selection(ids=(*tasks.values(), gone)), chunk=2)
    assert totals(rows, bulk_id) == (6, 4, 2)
    assert reasons(rows, bulk_id) == {
        gone: "the job is gone.",
        tasks[TaskState.IN_PROGRESS]: "attempt 3 is in progress.",
    }
    assert rows.value("SELECT count(*) FROM spoils_audit WHERE done") == 4
    assert rows.value("SELECT count(*) FROM spoils_bulk_items") == 0


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
    assert totals(rows, bulk_id) == (3, 3, 0)
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
        rows.attempt(task_id, 2, outcome, fingerprint=fingerprint, message=message)
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


def test_of_failed_duplicates_the_one_that_failed_last_is_retried_across_chunks_too(
    engine: Engine, rows: Rows
) -> None:
    digest = "a" * 64
    old, newest, middle = (failed_at(rows, s, uniq_hash=digest) for s in (300, 100, 200))
    others = [failed_at(rows, s, uniq_hash=f"{s:064}") for s in (50, 150, 250)]
    bulk_id = do(engine, "retry", Selection(ids=(old, newest, middle, *others)), chunk=1)
    assert totals(rows, bulk_id) == (6, 4, 2)
    assert reasons(rows, bulk_id) == {old: OLDER_DUPLICATE, middle: OLDER_DUPLICATE}
    assert {rows.state(one) for one in (newest, *others)} == {"new"}


def test_an_older_duplicate_stays_failed_even_where_the_newest_has_run_meanwhile(
    engine: Engine, rows: Rows
) -> None:
    old, newest = (failed_at(rows, s, uniq_hash="a" * 64) for s in (300, 100))
    bulk_id = begun(engine, "retry", Selection(ids=(old, newest)))
    assert step(engine, bulk_id, chunk=1)
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'finished' WHERE state = 'new'"))
    assert not step(engine, bulk_id, chunk=1)
    assert (rows.state(old), rows.state(newest)) == ("failed", "finished")


def test_each_task_is_done_once_where_one_worker_dies_at_it_and_two_others_meet(
    engine: Engine, rows: Rows
) -> None:
    for _ in range(6):
        rows.task(state="failed")
    bulk_id = begun(engine, "retry", FAILED)
    assert step(engine, bulk_id, chunk=2)
    with held(engine) as dying:
        assert bulk.advance(dying, bulk_id, chunk=2)
        dying.rollback()
    with held(engine) as first:
        assert bulk.advance(first, bulk_id, chunk=2)
        with meanwhile(engine, lambda connection: bulk.advance(connection, bulk_id, chunk=2)) as second:
            first.commit()
        assert second.result() is False
    assert totals(rows, bulk_id) == (6, 6, 0)
    assert rows.value("SELECT count(*) FROM spoils_audit") == 6
    assert step(engine, bulk_id) is False


def test_a_chunk_is_one_statement_on_the_tasks(engine: Engine, rows: Rows) -> None:
    for _ in range(50):
        rows.task(state="failed")
    bulk_id = begun(engine, "delete", FAILED)
    statements: list[str] = []

    def record(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    assert not step(engine, bulk_id)
    event.remove(engine, "before_cursor_execute", record)
    assert len([one for one in statements if "fang_tasks" in one]) == 1


def test_a_chunk_that_meets_a_duplicate_while_it_runs_is_redone_row_by_row(
    engine: Engine, rows: Rows
) -> None:
    tasks = [failed_at(rows, s, uniq_hash=f"{s:064}") for s in (1, 2, 3)]
    older = failed_at(rows, 9, uniq_hash=f"{3:064}")
    bulk_id = begun(engine, "retry", Selection(ids=(*tasks, older)))
    with held(engine) as enqueueing:
        enqueueing.execute(
            text("INSERT INTO fang_tasks (metadata, task_type, uniq_hash) VALUES ('{}', 'sample', :hash)"),
            {"hash": f"{2:064}"},
        )
        with meanwhile(engine, lambda connection: bulk.advance(connection, bulk_id)) as advancing:
            enqueueing.commit()
        assert advancing.result() is False
    assert totals(rows, bulk_id) == (4, 2, 2)
    assert reasons(rows, bulk_id) == {tasks[1]: "the same unique job already waits.", older: OLDER_DUPLICATE}
    assert [rows.state(one) for one in tasks] == ["new", "failed", "new"]


def test_what_a_bulk_deleted_comes_back_but_for_what_is_taken_or_there_again(
    engine: Engine, rows: Rows
) -> None:
    plain, unique, doubled = rows.task(state="failed"), rows.task(uniq_hash="a" * 64), rows.task()
    before = rows.one(plain)
    deleting = do(engine, "delete", Selection(ids=(plain, unique, doubled)))
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    duplicate = rows.task(uniq_hash="a" * 64)
    rows.task(id=doubled)
    restoring = do(engine, "restore", Selection(trash_of=deleting), chunk=2)
    assert totals(rows, restoring) == (3, 1, 2)
    assert reasons(rows, restoring) == {
        unique: "the same unique job already waits.",
        doubled: "a job of this id is there.",
    }
    assert rows.one(plain) == before
    assert rows.all("SELECT twin FROM spoils_audit WHERE task_id = :id AND NOT done", id=unique) == [
        (duplicate,)
    ]
    assert {task_id for (task_id,) in rows.all("SELECT task_id FROM spoils_trash")} == {unique, doubled}
    assert rows.value("SELECT sum(delta) FROM spoils_counts") == 3


def test_a_list_of_nothing_ends_at_once(engine: Engine, rows: Rows) -> None:
    bulk_id = do(engine, "restore", Selection(trash_of=uuid4()))
    assert totals(rows, bulk_id) == (0, 0, 0)
    assert rows.value("SELECT ended_at IS NOT NULL FROM spoils_bulks")


def test_two_that_work_side_by_side_keep_to_their_own_lists(engine: Engine, rows: Rows) -> None:
    retried, deleted = (tuple(rows.task(state="failed") for _ in range(4)) for _ in range(2))
    with transaction(engine) as connection:
        retrying = bulk.begin(connection, "retry", Selection(ids=retried), who="admin", expected=4)
        deleting = bulk.begin(connection, "delete", Selection(ids=deleted), who="admin", expected=4)
    for _ in range(4):
        step(engine, retrying, chunk=2)
        step(engine, deleting, chunk=2)
    assert [totals(rows, each) for each in (retrying, deleting)] == [(4, 4, 0), (4, 4, 0)]
    assert {task_id for (task_id,) in rows.all("SELECT id FROM fang_tasks WHERE state = 'new'")} == {*retried}
    assert rows.value("SELECT count(*) FROM fang_tasks") == 4


def test_refusals_are_read_in_order_and_from_where_one_was(engine: Engine, rows: Rows) -> None:
    done = rows.task(state="failed")
    refused = [rows.task(state="finished") for _ in range(3)]
    bulk_id = do(engine, "retry", Selection(ids=(done, *refused)))
    do(engine, "retry", Selection(ids=(rows.task(state="finished"),)))
    with Session(engine) as session:
        entries = bulk_actions.refusals(session, bulk_id)
        assert {entry.task_id for entry in entries} == set(refused)
        assert [entry.id for entry in entries] == sorted(entry.id for entry in entries)
        assert list(bulk_actions.refusals(session, bulk_id, after=entries[0].id, limit=1)) == [entries[1]]


def test_a_delete_can_be_undone_while_the_trash_has_some_of_it(engine: Engine, rows: Rows) -> None:
    deleted = do(engine, "delete", Selection(ids=(rows.task(), rows.task())))
    other = do(engine, "retry", Selection(ids=(rows.task(),)))
    assert bulk_actions.restorable(rows.connection, deleted)
    assert not bulk_actions.restorable(rows.connection, other)
    do(engine, "restore", Selection(trash_of=deleted))
    assert not bulk_actions.restorable(rows.connection, deleted)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 3


def test_some_of_a_selection_are_the_ones_that_changed_last(engine: Engine, rows: Rows) -> None:
    by_age = [failed_at(rows, seconds) for seconds in (1, 2, 3)]
    rows.task(state="finished")
    assert rows.connection.execute(bulk_actions.some_of(FAILED, 2)).scalars().all() == by_age[:2]
    chosen = Selection(ids=tuple(by_age), state=TaskState.FAILED)
    assert set(rows.connection.execute(bulk_actions.some_of(chosen, 9)).scalars()) == set(by_age)
    assert len(rows.connection.execute(bulk_actions.some_of(Selection(), 3)).all()) == 3
    assert count(rows.connection, FAILED) == 3


def test_what_has_ended_or_is_not_there_goes_no_further(engine: Engine, rows: Rows) -> None:
    task_id = rows.task(state="failed")
    ended = do(engine, "retry", Selection(ids=(task_id,)))
    before = rows.all("SELECT * FROM spoils_bulks")
    assert not step(engine, ended)
    assert not step(engine, uuid4())
    assert rows.all("SELECT * FROM spoils_bulks") == before
