"""Claiming the one task that a notification names: under every condition that a claim which looks has."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import make_engine
from spoils.queue.claim import Claim, ClaimOne
from tests.locks import held
from tests.queue.hands import KINDS, TYPES, end, moment, take
from tests.rows import Rows


@pytest.fixture(params=[False, True], ids=["any session", "one that plans once"])
def engine(database_url: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = make_engine(
        database_url, connections=8, application_name="tests", autocommit=True, by_index=request.param
    )
    yield made
    made.dispose()


@pytest.fixture
def me(rows: Rows) -> UUID:
    return rows.worker()


def take_one(connection: Connection, worker_id: UUID, task_id: UUID) -> list[Claim]:
    one = ClaimOne(connection, worker_id=worker_id, task_types=TYPES, kinds=KINDS)
    return one.take(str(task_id))


def test_it_takes_that_task_whatever_else_is_due(connection: Connection, rows: Rows, me: UUID) -> None:
    other = rows.task(due_in=-60, priority=2)
    task_id = rows.task(metadata={"type": "SampleJob", "number": 3}, retries=2)
    (claim,) = take_one(connection, me, task_id)
    row = rows.one(task_id)
    assert (row.state, row.claimed_by, row.attempts, row.retries) == ("in_progress", me, 1, 2)
    assert claim[:7] == (
        str(task_id), "sample", "SampleJob", '{"type": "SampleJob", "number": 3}', 2, 1, 0,
    )  # fmt: skip
    assert (moment(claim.claimed_at), moment(claim.scheduled_at)) == (row.claimed_at, row.scheduled_at)
    assert rows.state(other) == "new"
    assert end(connection, me, claim) == {task_id}


def test_it_has_the_fields_of_any_claim(connection: Connection, rows: Rows, me: UUID) -> None:
    first, second = rows.task(), rows.task()
    (one,) = take_one(connection, me, first)
    (found,) = take(connection, me)
    assert found.id == second
    assert [type(value) for value in one] == [type(value) for value in found]


@pytest.mark.parametrize(
    "columns",
    [
        {"due_in": 60}, {"state": "in_progress"}, {"state": "finished"}, {"state": "failed"}, {"crashes": 2},
        {"task_type": "elsewhere"}, {"task_type": "common", "metadata": {"type": "OfRust"}},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_for_it_stays(
    *, connection: Connection, rows: Rows, me: UUID, columns: dict[str, object]
) -> None:
    task_id = rows.task(**columns)  # type: ignore[arg-type]
    before = rows.one(task_id)
    assert take_one(connection, me, task_id) == []
    assert rows.one(task_id) == before


def test_a_row_whose_attempts_are_full_is_taken_like_any(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    (claim,) = take_one(connection, me, rows.task(attempts=2**31 - 1))
    assert claim.attempts == 1


def test_types_of_any_letters_are_what_they_are(connection: Connection, rows: Rows, me: UUID) -> None:
    odd = """50 % of 'it' "quoted" %s %(named)s \\ {ü}"""
    task_id = rows.task(task_type=odd)
    one = ClaimOne(connection, worker_id=me, task_types=[odd], kinds=["100%"])
    assert [claim.task_type for claim in one.take(str(task_id))] == [odd]


def test_a_task_that_is_gone_is_nobody_s(connection: Connection, me: UUID) -> None:
    assert take_one(connection, me, uuid4()) == []


def test_a_worker_whose_row_has_ended_takes_nothing(connection: Connection, rows: Rows) -> None:
    task_id = rows.task()
    assert take_one(connection, rows.worker(ended=True), task_id) == []
    assert rows.state(task_id) == "new"


def test_a_task_that_another_holds_locked_is_not_waited_for(engine: Engine, rows: Rows, me: UUID) -> None:
    task_id = rows.task()
    with held(engine) as one, held(engine) as two:
        assert len(take_one(one, me, task_id)) == 1
        two.execute(text("SET LOCAL lock_timeout = '5s'"))
        assert take_one(two, rows.worker(), task_id) == []
        one.connection.rollback()  # the driver's: SQLAlchemy does not know what it executed
        assert [claim.id for claim in take_one(two, me, task_id)] == [task_id]


def test_of_all_workers_that_are_told_of_it_one_takes_it(engine: Engine, rows: Rows) -> None:
    workers = [rows.worker() for _ in range(4)]
    for _ in range(25):
        task_id = rows.task()

        def take_it(worker_id: UUID, task_id: UUID = task_id) -> int:
            with engine.connect() as connection:
                return len(take_one(connection, worker_id, task_id))

        with ThreadPoolExecutor(len(workers)) as threads:
            assert sum(threads.map(take_it, workers)) == 1
        assert rows.one(task_id).attempts == 1
