"""What is told of a verb on many tasks: how far it is, what it refused, and whether it can be undone."""

from uuid import uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from spoils.db.engine import transaction
from spoils.models import TaskState
from spoils.queue import bulk
from spoils.queue.selection import Selection, count
from tests.queue.test_bulk import do, failed_at, step
from tests.rows import Rows


def test_it_tells_how_far_it_has_come_and_who_does_it(engine: Engine, rows: Rows) -> None:
    tasks, carrier = [rows.task(state="failed") for _ in range(3)], uuid4()
    with transaction(engine) as connection:
        bulk_id = bulk.begin(connection, "retry", Selection(ids=tuple(tasks)), who="admin", expected=3)
        bulk.hand_over(connection, bulk_id, carrier)
    with Session(engine) as session:
        row = bulk.find(session, bulk_id)
        assert row is not None
        assert (row.total, row.place, row.task_id) == (None, 0, carrier)
        assert step(engine, bulk_id, chunk=2)
        assert step(engine, bulk_id, chunk=2)
        session.rollback()
        assert bulk.find(session, bulk_id) is row
        assert (row.total, row.place, row.done, row.ended_at) == (3, 2, 2, None)
        assert bulk.find(session, uuid4()) is None


def test_refusals_are_read_in_order_and_from_where_one_was(engine: Engine, rows: Rows) -> None:
    done = rows.task(state="failed")
    refused = [rows.task(state="finished") for _ in range(3)]
    bulk_id = do(engine, "retry", Selection(ids=(done, *refused)))
    do(engine, "retry", Selection(ids=(rows.task(state="finished"),)))
    with Session(engine) as session:
        entries = bulk.refusals(session, bulk_id)
        assert {entry.task_id for entry in entries} == set(refused)
        assert [entry.id for entry in entries] == sorted(entry.id for entry in entries)
        assert list(bulk.refusals(session, bulk_id, after=entries[0].id, limit=1)) == [entries[1]]


def test_a_delete_can_be_undone_while_the_trash_has_some_of_it(engine: Engine, rows: Rows) -> None:
    deleted = do(engine, "delete", Selection(ids=(rows.task(), rows.task())))
    other = do(engine, "retry", Selection(ids=(rows.task(),)))
    assert bulk.restorable(rows.connection, deleted)
    assert not bulk.restorable(rows.connection, other)
    do(engine, "restore", Selection(trash_of=deleted))
    assert not bulk.restorable(rows.connection, deleted)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 3


def test_some_of_a_selection_are_the_ones_that_changed_last(engine: Engine, rows: Rows) -> None:
    by_age = [failed_at(rows, seconds) for seconds in (1, 2, 3)]
    rows.task(state="finished")
    failed = Selection(state=TaskState.FAILED)
    assert rows.connection.execute(bulk.some_of(failed, 2)).scalars().all() == by_age[:2]
    chosen = Selection(ids=tuple(by_age), state=TaskState.FAILED)
    assert set(rows.connection.execute(bulk.some_of(chosen, 9)).scalars()) == set(by_age)
    assert len(rows.connection.execute(bulk.some_of(Selection(), 3)).all()) == 3
    assert count(rows.connection, failed) == 3


def test_what_has_ended_or_is_not_there_goes_no_further(engine: Engine, rows: Rows) -> None:
    task_id = rows.task(state="failed")
    ended = do(engine, "retry", Selection(ids=(task_id,)))
    before = rows.all("SELECT * FROM spoils_bulks")
    assert not step(engine, ended)
    assert not step(engine, uuid4())
    assert rows.all("SELECT * FROM spoils_bulks") == before
