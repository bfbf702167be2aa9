"""The settler keeps each outcome until the database has answered."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import make_engine
from spoils.outcome import FINISHED, Ending, Verdict
from spoils.queue.claim import Claim
from spoils.queue.settlement import Settlement
from spoils.worker.in_flight import Token
from spoils.worker.settler import APART_SECONDS, IDLE_SECONDS, MOST, MOST_REFUSALS, Settler
from tests.locks import held
from tests.queue.hands import take
from tests.rows import Rows
from tests.support import eventually


@pytest.fixture
def me(rows: Rows) -> UUID:
    return rows.worker()


@pytest.fixture
def settled() -> list[Token]:
    return []


@pytest.fixture
def settler(engine: Engine, me: UUID, settled: list[Token]) -> Settler:
    return Settler(engine=engine, worker_id=me, release="v1", on_settled=settled.extend)


def verdict_on(claim: Claim, verdict: Verdict = FINISHED) -> Settlement:
    return Settlement(claim.key, claim.attempts, verdict, claim.claimed_at, 5)


def a_second_later(settler: Settler) -> None:
    """What was refused may be asked for again."""
    settler._rests_until = dict.fromkeys(settler._rests_until, 0.0)


def test_what_has_gathered_is_written_in_one_group(
    settler: Settler, connection: Connection, rows: Rows, me: UUID, settled: list[Token]
) -> None:
    for _ in range(5):
        rows.task()
    claims = take(connection, me, 5)
    for claim in claims:
        settler.hand_over(verdict_on(claim))
    assert not settler.empty
    assert settler.tick() == 0
    assert settled == [claim.token for claim in claims]
    assert settler.empty
    assert rows.all(
        "SELECT state::text, count(*), count(DISTINCT updated_at) FROM fang_tasks GROUP BY 1"
    ) == [("finished", 5, 1)]
    assert settler.tick() == IDLE_SECONDS


def test_a_group_is_bounded(
    settler: Settler, connection: Connection, rows: Rows, me: UUID, settled: list[Token]
) -> None:
    connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type) SELECT '{}', 'sample' FROM generate_series(1, :n)"
        ),
        {"n": MOST + 3},
    )
    for claim in take(connection, me, MOST + 3):
        settler.hand_over(verdict_on(claim))
    settler.tick()
    assert len(settled) == MOST
    settler.tick()
    assert len(settled) == MOST + 3


def test_an_error_leaves_the_group_in_hand_and_it_is_written_later(
    settler: Settler, connection: Connection, rows: Rows, me: UUID, settled: list[Token]
) -> None:
    first, second = rows.task(due_in=-1), rows.task()
    one, other = take(connection, me, 2)
    settler.hand_over(verdict_on(one))
    connection.execute(text("ALTER TABLE spoils_minutes RENAME TO away"))
    try:
        for _ in range(MOST_REFUSALS - 1):
            assert settler.tick() == APART_SECONDS
            assert not settler.empty
            a_second_later(settler)
        assert settled == []
        assert rows.state(first) == "in_progress"
        settler.hand_over(verdict_on(other, Verdict(Ending.RETRIED, 60)))
    finally:
        connection.execute(text("ALTER TABLE away RENAME TO spoils_minutes"))
    settler.tick()
    assert settled == [one.token, other.token]
    assert (rows.state(first), rows.state(second)) == ("finished", "retried")
    assert rows.value("SELECT count(*) FROM spoils_minutes") == 2


def test_its_loop_comes_back_for_what_could_not_be_written(
    settler: Settler, connection: Connection, rows: Rows, me: UUID
) -> None:
    task_id = rows.task()
    (claim,) = take(connection, me)
    connection.execute(text("ALTER TABLE spoils_minutes RENAME TO away"))
    settler.loop.start()
    try:
        settler.hand_over(verdict_on(claim))

        def tried() -> None:
            assert settler._batch

        eventually(tried)
    finally:
        connection.execute(text("ALTER TABLE away RENAME TO spoils_minutes"))

    def written() -> None:
        assert rows.state(task_id) == "finished"

    eventually(written)
    assert settler.loop.stop(60)


def test_what_is_lost_is_told_and_let_go(
    *, settler: Settler, connection: Connection, rows: Rows, me: UUID, settled: list[Token],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    gone, kept = rows.task(due_in=-1), rows.task()
    for claim in take(connection, me, 2):
        settler.hand_over(verdict_on(claim))
    connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": gone})
    settler.tick()
    assert [key for key, _ in settled] == [str(gone), str(kept)]
    (record,) = caplog.records
    assert record.message.startswith("Lost: ")
    assert record.__dict__["task_id"] == str(gone)
    assert settler.empty


def test_an_outcome_that_the_table_refuses_again_and_again_becomes_a_failure_and_holds_up_nobody(
    settler: Settler, connection: Connection, rows: Rows, me: UUID
) -> None:
    refused, other = rows.task(due_in=-1), rows.task()
    for claim in take(connection, me, 2):
        settler.hand_over(verdict_on(claim))
    connection.execute(
        text(f"ALTER TABLE fang_tasks ADD CHECK (id <> '{refused}' OR state <> 'finished') NOT VALID")
    )
    settler.tick()
    assert (rows.state(refused), rows.state(other)) == ("in_progress", "finished")
    settler.tick()
    assert not settler.empty, "it rests for a second"
    for _ in range(MOST_REFUSALS):
        a_second_later(settler)
        settler.tick()
    assert settler.empty
    assert rows.state(refused) == "failed"
    assert rows.one(refused).error_message.startswith("The outcome (finished) could not be written")


def test_of_two_verdicts_on_one_attempt_the_first_one_holds(
    settler: Settler, connection: Connection, rows: Rows, me: UUID
) -> None:
    task_id = rows.task()
    (claim,) = take(connection, me)
    settler.hand_over(verdict_on(claim, Verdict(Ending.RELEASED)))
    settler.hand_over(verdict_on(claim, Verdict(Ending.FAILED)))
    settler.tick()
    assert rows.state(task_id) == "new"


def test_a_session_that_ends_is_no_refusal_and_the_group_is_written_on_another(
    *, settler: Settler, engine: Engine, connection: Connection, rows: Rows, me: UUID
) -> None:
    task_id = rows.task()
    (claim,) = take(connection, me)
    settler.hand_over(verdict_on(claim))
    ended: list[int] = []

    @event.listens_for(engine, "checkout")
    def end_it(driver: Any, *_: object) -> None:
        if not ended:
            ended.append(driver.info.backend_pid)
            connection.execute(text("SELECT pg_terminate_backend(:pid, 60000)"), {"pid": ended[0]})

    with pytest.raises(DBAPIError):
        settler.tick()
    assert not settler.empty
    assert settler.tick() == 0
    assert ended
    assert rows.state(task_id) == "finished"


def test_a_row_that_is_locked_waits_and_its_neighbours_do_not(
    database_url: str, engine: Engine, connection: Connection, rows: Rows, me: UUID
) -> None:
    impatient = make_engine(
        database_url, connections=1, application_name="tests", autocommit=True, lock_timeout_ms=200
    )
    settler = Settler(engine=impatient, worker_id=me, release="v1", on_settled=lambda _: None)
    locked, free = rows.task(due_in=-1), rows.task()
    for claim in take(connection, me, 2):
        settler.hand_over(verdict_on(claim))
    with held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": locked})
        assert settler.tick() == APART_SECONDS
        assert (rows.state(locked), rows.state(free)) == ("in_progress", "finished")
        assert not settler._refusals, "a wait is no refusal"
    a_second_later(settler)
    settler.tick()
    assert rows.state(locked) == "finished"
    impatient.dispose()
