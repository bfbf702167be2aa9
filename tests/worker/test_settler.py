"""The settler keeps each outcome until the database has answered."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from spoils.db import sharing
from spoils.db.engine import make_engine, transaction
from spoils.errors import DatabaseAway
from spoils.job.outcome import FINISHED, Ending, Verdict
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


def later(settler: Settler) -> None:
    """What was set aside may be written now."""
    settler._apart = {token: (0.0, item) for token, (_, item) in settler._apart.items()}


def locked_by(other: Connection, task_id: UUID) -> None:
    other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": task_id})


def trigger(rows: Rows, event: str, body: str) -> None:
    head = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
    rows.connection.execute(text(f"{head} $$ BEGIN {body} RETURN NEW; END $$"))
    rows.connection.execute(
        text(f"CREATE TRIGGER refuse BEFORE {event} FOR EACH ROW EXECUTE FUNCTION refuse()")
    )


def refusing(rows: Rows, code: str) -> None:
    """Let the server refuse every outcome with this SQLSTATE."""
    trigger(rows, "INSERT ON spoils_minutes", f"RAISE EXCEPTION 'no' USING ERRCODE = '{code}';")


def accepting(rows: Rows) -> None:
    rows.connection.execute(text("DROP FUNCTION refuse CASCADE"))


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


@pytest.mark.parametrize("code", ["25006", "53100", "42501", "40001", "40P01", "55P03", "57014"])
def test_while_the_server_takes_no_outcomes_they_stay_in_hand_and_become_no_failure(
    *, code: str, settler: Settler, connection: Connection, rows: Rows, me: UUID, settled: list[Token]
) -> None:
    first, second = rows.task(due_in=-1), rows.task()
    one, other = take(connection, me, 2)
    settler.hand_over(verdict_on(one))
    refusing(rows, code)
    try:
        for _ in range(MOST_REFUSALS + 2):
            with pytest.raises(DBAPIError):
                settler.tick()
            assert not settler.writing.is_set(), "nothing more is claimed meanwhile"
        assert settled == []
        assert not settler.empty
        settler.hand_over(verdict_on(other, Verdict(Ending.RETRIED, 60)))
    finally:
        accepting(rows)
    settler.tick()
    assert settler.writing.is_set()
    assert set(settled) == {one.token, other.token}
    assert (rows.state(first), rows.state(second)) == ("finished", "retried")
    assert rows.value("SELECT count(*) FROM spoils_minutes") == 2


def test_a_row_that_is_refused_after_an_outage_does_not_stop_claims_for_good(
    settler: Settler, connection: Connection, rows: Rows, me: UUID
) -> None:
    rows.task()
    settler.hand_over(verdict_on(*take(connection, me)))
    refusing(rows, "25006")
    with pytest.raises(DBAPIError):
        settler.tick()
    accepting(rows)
    assert not settler.writing.is_set()
    trigger(rows, "UPDATE ON fang_tasks", "RAISE EXCEPTION 'no';")
    try:
        settler.tick()
        assert settler.writing.is_set()
        assert not settler.empty
    finally:
        accepting(rows)


def test_what_a_trigger_refuses_stays_in_hand_and_holds_up_nobody(
    settler: Settler, connection: Connection, rows: Rows, me: UUID
) -> None:
    refused, other = rows.task(due_in=-1), rows.task()
    for claim in take(connection, me, 2):
        settler.hand_over(verdict_on(claim))
    body = f"IF NEW.id = '{refused}' THEN RAISE EXCEPTION 'no'; END IF;"
    trigger(rows, "UPDATE ON fang_tasks", body)
    try:
        for _ in range(MOST_REFUSALS + 2):
            settler.tick()
            later(settler)
        assert (rows.state(refused), rows.state(other)) == ("in_progress", "finished")
    finally:
        accepting(rows)
    settler.tick()
    assert rows.state(refused) == "finished"


def test_its_loop_comes_back_for_what_could_not_be_written(
    settler: Settler, connection: Connection, rows: Rows, me: UUID
) -> None:
    task_id = rows.task()
    (claim,) = take(connection, me)
    refusing(rows, "53100")
    settler.loop.start()
    try:
        settler.hand_over(verdict_on(claim))

        def tried() -> None:
            assert not settler.writing.is_set()

        eventually(tried)
    finally:
        accepting(rows)

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
    assert {token[0] for token in settled} == {str(gone), str(kept)}
    (record,) = caplog.records
    assert record.message.startswith("Result discarded: ")
    assert record.__dict__["task_id"] == str(gone)
    assert settler.empty


def test_what_was_written_before_the_rest_failed_is_told_and_never_called_lost(
    *, settler: Settler, connection: Connection, rows: Rows, me: UUID, settled: list[Token],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    finished, retried = rows.task(due_in=-1), rows.task()
    one, other = take(connection, me, 2)
    settler.hand_over(verdict_on(other, Verdict(Ending.RETRIED, 60)))
    settler.hand_over(verdict_on(one))
    trigger(rows, "INSERT ON spoils_attempts", "RAISE EXCEPTION 'no' USING ERRCODE = '53100';")
    try:
        with pytest.raises(DBAPIError):
            settler.tick()
        assert (rows.state(finished), rows.state(retried)) == ("finished", "in_progress")
        assert settled == [one.token]
        assert not settler.writing.is_set()
    finally:
        accepting(rows)
    settler.tick()
    assert rows.state(retried) == "retried"
    assert settled == [one.token, other.token]
    assert settler.writing.is_set()
    assert caplog.records == []


def test_what_was_written_before_the_look_at_locked_ones_failed_is_never_called_lost(
    *, settler: Settler, engine: Engine, connection: Connection, rows: Rows, me: UUID, settled: list[Token],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    locked, free = rows.task(due_in=-1), rows.task()
    one, other = take(connection, me, 2)
    for claim in (one, other):
        settler.hand_over(verdict_on(claim))

    def fail(*_: object, **__: object) -> set[str]:
        raise DatabaseAway

    with held(engine) as operator, monkeypatch.context() as patch:
        locked_by(operator, locked)
        patch.setattr("spoils.worker.settler.still_ours", fail)
        with pytest.raises(DatabaseAway):
            settler.tick()
    assert settled == [other.token]
    settler.tick()
    assert (rows.state(locked), rows.state(free)) == ("finished", "finished")
    assert settler.empty
    assert caplog.records == []


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
    assert settler.tick() == APART_SECONDS
    assert not settler.empty, "it is set aside for a second"
    for _ in range(MOST_REFUSALS):
        later(settler)
        settler.tick()
    assert settler.empty
    assert rows.state(refused) == "failed"
    assert rows.one(refused).error_message.startswith("The outcome (finished) could not be written")


def test_a_refused_outcome_is_replaced_once_and_the_failure_names_the_first_one(
    settler: Settler, connection: Connection, rows: Rows, me: UUID
) -> None:
    refused = rows.task()
    (claim,) = take(connection, me)
    settler.hand_over(verdict_on(claim, Verdict(Ending.RETRIED, 60)))
    rule = text(
        f"ALTER TABLE fang_tasks ADD CONSTRAINT refuse CHECK (id <> '{refused}' OR attempts = 0) NOT VALID"
    )
    connection.execute(rule)
    for _ in range(2 * MOST_REFUSALS):
        settler.tick()
        later(settler)
    connection.execute(text("ALTER TABLE fang_tasks DROP CONSTRAINT refuse"))
    settler.tick()
    assert rows.one(refused).error_message == (
        "The outcome (retried) could not be written: the table refused it."
    )


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


def test_a_row_that_is_locked_is_set_aside_and_its_neighbours_are_written(
    *, settler: Settler, engine: Engine, connection: Connection, rows: Rows, me: UUID, settled: list[Token],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    locked, free = rows.task(due_in=-1), rows.task()
    one, other = take(connection, me, 2)
    for claim in (one, other):
        settler.hand_over(verdict_on(claim))
    with held(engine) as operator:
        locked_by(operator, locked)
        settler.tick()
        assert (rows.state(locked), rows.state(free)) == ("in_progress", "finished")
        assert settled == [other.token]
        assert not settler.empty
        later_verdict = Verdict(Ending.FAILED)
        settler.hand_over(verdict_on(one, later_verdict))
        assert settler.tick() == APART_SECONDS, "it is set aside, and its first verdict holds"
    later(settler)
    settler.tick()
    assert rows.state(locked) == "finished"
    assert settler.empty
    assert caplog.records == []


def test_while_a_duplicate_is_being_inserted_only_its_own_outcome_waits(
    *, database_url: str, engine: Engine, connection: Connection, rows: Rows, me: UUID, settled: list[Token],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    own = make_engine(
        database_url, connections=1, application_name="tests", autocommit=True, lock_timeout_ms=5000
    )
    settler = Settler(engine=own, worker_id=me, release="v1", on_settled=settled.extend)
    with transaction(engine) as sharing_now:
        sharing.begin(sharing_now)
    blocked = rows.task(uniq_hash="a" * 64)
    (held_up,) = take(connection, me)
    retried = Verdict(Ending.RETRIED, 60)
    try:
        with held(engine) as other:
            Rows(other).task(uniq_hash="a" * 64, due_in=3600)
            settler.hand_over(verdict_on(held_up, retried))
            for _ in range(3):
                free = [rows.task(), rows.task()]
                one, two = take(connection, me, 2)
                settler.hand_over(verdict_on(one, retried))
                settler.hand_over(verdict_on(two))
                settler.tick()
                assert sorted(map(rows.state, free)) == ["finished", "retried"]
                assert settler.writing.is_set()
                later(settler)
            assert rows.state(blocked) == "in_progress"
            assert held_up.token not in settled
            other.commit()
        settler.tick()
        assert rows.state(blocked) == "retried"
        assert settler.empty
        assert caplog.records == []
    finally:
        with transaction(engine) as sharing_no_more:
            sharing.end(sharing_no_more)
        own.dispose()


def test_more_locked_rows_than_a_group_holds_do_not_keep_back_what_comes_after_them(
    settler: Settler, engine: Engine, connection: Connection, rows: Rows, me: UUID
) -> None:
    connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type) SELECT '{}', 'sample' FROM generate_series(1, :n)"
        ),
        {"n": MOST},
    )
    for claim in take(connection, me, MOST):
        settler.hand_over(verdict_on(claim))
    with held(engine) as operator:
        operator.execute(text("SELECT FROM fang_tasks FOR UPDATE"))
        settler.tick()
        free = rows.task()
        settler.hand_over(verdict_on(*take(connection, me)))
        settler.tick()
        assert rows.state(free) == "finished"
    later(settler)
    settler.tick()
    assert settler.empty


def test_a_locked_row_whose_claim_is_lost_meanwhile_is_lost(
    *, settler: Settler, engine: Engine, connection: Connection, rows: Rows, me: UUID,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    task_id = rows.task()
    (claim,) = take(connection, me)
    settler.hand_over(verdict_on(claim))
    with held(engine) as rescuer:
        locked_by(rescuer, task_id)
        rescuer.execute(text("UPDATE fang_tasks SET state = 'new', claimed_by = NULL"))
        settler.tick()
        assert not settler.empty
        rescuer.commit()
    later(settler)
    settler.tick()
    assert settler.empty
    assert [record.message for record in caplog.records] == [
        "Result discarded: the task now belongs to another attempt"
    ]
