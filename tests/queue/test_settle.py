"""Settling: what each ending writes, and that nothing is written for a claim that was lost."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.job.outcome import FINISHED, Ending, Report, Verdict
from spoils.queue import actions, rescue
from spoils.queue.claim import Claim
from spoils.queue.fence import still_ours
from spoils.queue.finish import ClaimLost, finish_one, finishing
from spoils.queue.release import release, release_strays
from spoils.queue.settle import MAX_DELAY_SECONDS, settle
from spoils.queue.settlement import Settlement
from tests.locks import held, meanwhile
from tests.queue.hands import end, heard, moment, take
from tests.rows import Rows

REPORT = Report("ValueError", "boom", "Traceback …", "f1f1")
EVERYTHING = "SELECT to_jsonb(t) FROM {} AS t ORDER BY 1"


def everything(rows: Rows) -> dict[str, list[tuple[Any, ...]]]:
    """All that a settlement could touch."""
    return {
        name: rows.all(EVERYTHING.format(name))
        for name in ("fang_tasks", "spoils_attempts", "spoils_minutes", "spoils_counts", "spoils_workers")
    }


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize(
    ("verdict", "state", "counted", "message"),
    [
        (FINISHED, "finished", 0, None),
        (Verdict(Ending.FAILED, report=REPORT), "failed", 0, "ValueError: boom"),
        (Verdict(Ending.CANCELLED, report=Report("", "no such thing")), "failed", 0, "no such thing"),
        (Verdict(Ending.RETRIED, 90.5, REPORT), "waiting", 1, "ValueError: boom"),
        (Verdict(Ending.TIMED_OUT, 30, REPORT), "waiting", 1, "ValueError: boom"),
        (Verdict(Ending.SNOOZED, 60), "waiting", 0, "before"),
        (Verdict(Ending.RELEASED), "waiting", 0, "before"),
    ],
    ids=lambda value: value.ending if isinstance(value, Verdict) else "",
)
def test_each_ending_writes_its_own(
    *,
    connection: Connection,
    rows: Rows,
    me: UUID,
    verdict: Verdict,
    state: str,
    counted: int,
    message: str | None,
    retries: int,
) -> None:
    task_id = rows.task(retries=retries, error_message="before", due_in=-10)
    if state != "waiting":
        connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
    (claim,) = take(connection, me)
    before = rows.one(task_id)
    assert end(connection, me, claim, verdict=verdict, ran_ms=37) == {task_id}
    row = rows.one(task_id)
    waits = state == "waiting"
    assert row.state == (("retried" if retries + counted else "new") if waits else state)
    assert row.retries == retries + counted
    assert (row.attempts, row.crashes, row.cancel_requested_at) == (1, 0, None)
    assert row.error_message == message
    assert (row.claimed_by, row.claimed_at) == ((None, None) if waits else (me, before.claimed_at))
    assert row.updated_at > before.updated_at
    if waits and verdict.ending is not Ending.RELEASED:
        assert (row.scheduled_at - row.updated_at).total_seconds() == pytest.approx(verdict.delay_seconds)
    else:
        assert row.scheduled_at == before.scheduled_at

    attempts = rows.all(
        "SELECT task_id, attempt, task_type, outcome, worker_id, release, claimed_at, ended_at, ran_ms, delay_ms, "
        "error_class, message, traceback, fingerprint FROM spoils_attempts"
    )
    report = verdict.report
    told = (
        (report.error_class, report.message, report.traceback, report.fingerprint) if report else (None,) * 4
    )
    delay_ms = int(verdict.delay_seconds * 1000)
    assert attempts == (
        []
        if verdict.ending is Ending.FINISHED
        else [
            (
                task_id,
                1,
                "sample",
                verdict.ending,
                me,
                "v1",
                moment(claim.claimed_at),
                row.updated_at,
                37,
                delay_ms,
                *told,
            )
        ]
    )
    minutes = rows.all("SELECT task_type, outcome, count, ran_ms FROM spoils_minutes")
    uncounted = verdict.ending in (Ending.SNOOZED, Ending.RELEASED)
    assert minutes == ([] if uncounted else [("sample", verdict.ending, 1, 37)])


@pytest.mark.parametrize("seconds", [float("inf"), 1e308, MAX_DELAY_SECONDS, 1e12])
def test_an_endless_delay_is_ten_years(connection: Connection, rows: Rows, me: UUID, seconds: float) -> None:
    task_id = rows.task()
    end(connection, me, *take(connection, me), verdict=Verdict(Ending.SNOOZED, seconds))
    row = rows.one(task_id)
    assert (row.scheduled_at - row.updated_at).total_seconds() == MAX_DELAY_SECONDS


@pytest.mark.parametrize("seconds", [float("nan"), float("-inf"), -1.0, -1e308])
def test_a_delay_that_is_none_does_not_spoil_the_batch(
    connection: Connection, rows: Rows, me: UUID, seconds: float
) -> None:
    odd, plain = rows.task(due_in=-1), rows.task()
    claims = take(connection, me, 2)
    verdicts = (Verdict(Ending.SNOOZED, seconds), FINISHED)
    settlements = [
        Settlement(one.key, one.attempts, verdict, one.claimed_at, 1)
        for one, verdict in zip(claims, verdicts, strict=True)
    ]
    assert settle(connection, settlements, worker_id=me, release="v1") == {str(odd), str(plain)}
    assert rows.one(odd).scheduled_at == rows.one(odd).updated_at


def other_worker(rows: Rows, claim: Claim) -> None:
    rows.connection.execute(text("UPDATE fang_tasks SET claimed_by = :id"), {"id": rows.worker()})


def later_attempt(rows: Rows, claim: Claim) -> None:
    rows.connection.execute(text("UPDATE fang_tasks SET attempts = attempts + 1"))


def rescued(rows: Rows, claim: Claim) -> None:
    beat = rows.value("SELECT beat_at::text FROM spoils_workers")
    me = rows.one(claim.id).claimed_by
    assert rescue.rescue(rows.connection, worker_id=me, beat=beat).tasks == 1


def released(rows: Rows, claim: Claim) -> None:
    assert release_strays(rows.connection, worker_id=rows.one(claim.id).claimed_by, held=[])[0]


def released_and_claimed_again_by_itself(rows: Rows, claim: Claim) -> None:
    me = rows.one(claim.id).claimed_by
    released(rows, claim)
    assert take(rows.connection, me)


def deleted(rows: Rows, claim: Claim) -> None:
    rows.connection.execute(text("DELETE FROM fang_tasks"))


def settled(rows: Rows, claim: Claim) -> None:
    assert end(rows.connection, rows.one(claim.id).claimed_by, claim)


def failed_by_hand(rows: Rows, claim: Claim) -> None:
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'failed'"))


LOSSES = [
    other_worker, later_attempt, rescued, released, released_and_claimed_again_by_itself, deleted, settled,
    failed_by_hand,
]  # fmt: skip


@pytest.mark.parametrize(
    "verdict",
    [FINISHED, Verdict(Ending.RETRIED, 60, REPORT), Verdict(Ending.RELEASED)],
    ids=lambda v: v.ending,
)
@pytest.mark.parametrize("lose", LOSSES)
def test_a_lost_claim_writes_nothing_anywhere(
    connection: Connection, rows: Rows, me: UUID, lose: Callable[[Rows, Claim], None], verdict: Verdict
) -> None:
    rows.task()
    (claim,) = take(connection, me)
    lose(rows, claim)
    before = everything(rows)
    assert end(connection, me, claim, verdict=verdict) == set()
    assert everything(rows) == before


@pytest.mark.parametrize(
    "verdict", [FINISHED, Verdict(Ending.RETRIED, 1, REPORT)], ids=lambda verdict: verdict.ending
)
def test_of_a_batch_what_is_lost_is_missing_and_the_rest_is_written(
    connection: Connection, rows: Rows, me: UUID, verdict: Verdict
) -> None:
    ids = [rows.task(due_in=-number) for number in range(6, 0, -1)]
    claims = take(connection, me, 6)
    connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": ids[1]})
    connection.execute(text("UPDATE fang_tasks SET attempts = 9 WHERE id = :id"), {"id": ids[3]})
    stranger = claims[0]._replace(key=str(uuid4()))
    written = end(connection, me, *claims, stranger, verdict=verdict)
    assert written == {ids[0], ids[2], ids[4], ids[5]}
    assert rows.value("SELECT count(*) FROM spoils_attempts") == (4 if verdict.report else 0)
    assert rows.value("SELECT sum(count) FROM spoils_minutes") == 4
    assert rows.state(ids[3]) == "in_progress"


def test_an_empty_batch_is_no_trouble(connection: Connection, me: UUID) -> None:
    assert end(connection, me) == set()


def test_two_verdicts_on_one_attempt_write_one_outcome(connection: Connection, rows: Rows, me: UUID) -> None:
    """As when a job ends in the moment in which the shutdown gives it back."""
    task_id = rows.task()
    (claim,) = take(connection, me)
    settlements = [
        Settlement(claim.key, claim.attempts, verdict, claim.claimed_at, 1)
        for verdict in (FINISHED, Verdict(Ending.RELEASED))
    ]
    assert settle(connection, settlements, worker_id=me, release="v1") == {str(task_id)}
    told = rows.value("SELECT count(*) FROM spoils_attempts") + rows.value(
        "SELECT count(*) FROM spoils_minutes"
    )
    assert told == 1


def test_a_batch_is_counted_by_type_outcome_and_bucket(connection: Connection, rows: Rows, me: UUID) -> None:
    for _ in range(3):
        rows.task()
    rows.task(task_type="unique_sample")
    end(connection, me, *take(connection, me, 10), ran_ms=100)
    assert rows.all("SELECT task_type, outcome, count, ran_ms FROM spoils_minutes ORDER BY 1") == [
        ("sample", "finished", 3, 300),
        ("unique_sample", "finished", 1, 100),
    ]


def test_text_of_any_kind_that_a_report_holds_is_stored_as_it_is(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    odd = '\'; DROP TABLE fang_tasks; -- %s :worker_id \\u0000 "{}" 🥕\n\u2028' + "x" * 50_000
    task_id = rows.task()
    report = Report("Odd'Error", odd, odd, "f")
    end(connection, me, *take(connection, me), verdict=Verdict(Ending.FAILED, report=report))
    assert rows.one(task_id).error_message == f"Odd'Error: {odd}"
    assert rows.all("SELECT message, traceback FROM spoils_attempts") == [(odd, odd)]


def rescuing(me: UUID) -> Callable[[Connection], Any]:
    def act(connection: Connection) -> int:
        beat = connection.execute(text("SELECT beat_at::text FROM spoils_workers")).scalar_one()
        return rescue.rescue(connection, worker_id=me, beat=beat).tasks

    return act


def deleting(me: UUID) -> Callable[[Connection], Any]:
    def act(connection: Connection) -> int:
        task_id = connection.execute(text("SELECT id FROM fang_tasks")).scalar_one()
        return int(actions.act(connection, "delete", task_id, who="admin").done)

    return act


def releasing(me: UUID) -> Callable[[Connection], Any]:
    return lambda connection: len(release_strays(connection, worker_id=me, held=[])[0])


@pytest.mark.parametrize(
    "verdict",
    [FINISHED, Verdict(Ending.FAILED, report=REPORT), Verdict(Ending.RETRIED, 60, REPORT)],
    ids=lambda verdict: verdict.ending,
)
@pytest.mark.parametrize("act", [rescuing, releasing])
def test_a_rescue_or_a_release_does_not_wait_for_a_settlement_and_leaves_its_task_alone(
    *,
    engine: Engine,
    rows: Rows,
    me: UUID,
    act: Callable[[UUID], Callable[[Connection], Any]],
    verdict: Verdict,
) -> None:
    task_id = rows.task()
    (claim,) = take(rows.connection, me)
    with held(engine) as settling, engine.connect() as other:
        assert end(settling, me, claim, verdict=verdict) == {task_id}
        settled = settling.execute(text("SELECT * FROM fang_tasks")).one()
        assert act(me)(other) == 0
        settling.commit()
        assert act(me)(other) == 0
    assert rows.one(task_id) == settled
    assert rows.value("SELECT count(*) FROM spoils_attempts WHERE outcome IN ('crashed', 'released')") == 0
    assert rows.value("SELECT sum(count) FROM spoils_minutes") == 1


def test_a_delete_while_a_settlement_is_being_written_deletes_what_has_ended(
    engine: Engine, rows: Rows, me: UUID
) -> None:
    rows.task()
    (claim,) = take(rows.connection, me)
    with held(engine) as settling:
        end(settling, me, claim)
        with meanwhile(engine, deleting(me)) as removing:
            settling.commit()
        assert removing.result() == 1
    assert rows.value("SELECT task ->> 'state' FROM spoils_trash") == "finished"


def in_psql(me: UUID) -> Callable[[Connection], Any]:
    return lambda connection: connection.execute(text("DELETE FROM fang_tasks")).rowcount


VERDICTS = [
    FINISHED, Verdict(Ending.FAILED, report=REPORT), Verdict(Ending.RETRIED, 1, REPORT),
    Verdict(Ending.RELEASED),
]  # fmt: skip


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.ending)
@pytest.mark.parametrize("lose", [rescuing, releasing, in_psql])
def test_a_settlement_of_a_task_that_is_being_taken_away_does_not_wait_and_is_lost_after_that(
    *, engine: Engine, rows: Rows, me: UUID, lose: Callable[[UUID], Callable[[Connection], Any]],
    verdict: Verdict,
) -> None:  # fmt: skip
    rows.task()
    (claim,) = take(rows.connection, me)
    with held(engine) as losing, engine.connect() as other:
        assert lose(me)(losing) == 1
        assert end(other, me, claim, verdict=verdict) == set()
        assert still_ours(other, [claim.token], worker_id=me) == {claim.key}, "so far it is only locked"
        losing.commit()
        assert end(other, me, claim, verdict=verdict) == set()
        assert still_ours(other, [claim.token], worker_id=me) == set()
    assert rows.value("SELECT count(*) FROM spoils_minutes WHERE outcome = 'finished'") == 0


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.ending)
@pytest.mark.parametrize("lock", ["UPDATE", "NO KEY UPDATE", "SHARE"])
def test_a_locked_row_is_left_and_its_neighbours_are_written(
    *, engine: Engine, connection: Connection, rows: Rows, me: UUID, verdict: Verdict, lock: str
) -> None:
    locked, *free = [rows.task(due_in=-number) for number in range(4, 0, -1)]
    claims = take(connection, me, 4)
    with held(engine) as other:
        other.execute(text(f"SELECT FROM fang_tasks WHERE id = :id FOR {lock}"), {"id": locked})
        assert end(connection, me, *claims, verdict=verdict) == set(free)
        tokens = [claim.token for claim in claims]
        assert still_ours(connection, tokens, worker_id=me) == {str(locked)}
    assert end(connection, me, *claims, verdict=verdict) == {locked}


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.ending)
def test_a_claim_that_a_crash_of_the_server_has_undone_does_not_settle_the_one_that_follows_it(
    connection: Connection, rows: Rows, me: UUID, verdict: Verdict
) -> None:
    """Claims commit asynchronously: when one is lost, the same worker can make it again with the same attempts."""
    task_id = rows.task()
    (lost,) = take(connection, me)
    connection.execute(
        text("UPDATE fang_tasks SET state = 'new', claimed_by = NULL, claimed_at = NULL, attempts = 0")
    )
    (again,) = take(connection, me)
    assert (again.key, again.attempts) == (lost.key, lost.attempts)
    before = everything(rows)
    assert end(connection, me, lost, verdict=verdict) == set()
    assert still_ours(connection, [lost.token, again.token], worker_id=me) == {str(task_id)}
    assert release(connection, worker_id=me, tokens=[lost.token]) == []
    with pytest.raises(ClaimLost), finishing():
        finish_one(
            connection, Settlement(lost.key, lost.attempts, FINISHED, lost.claimed_at, 1), worker_id=me
        )
    assert everything(rows) == before
    assert end(connection, me, again, verdict=verdict) == {task_id}


def test_what_is_released_keeps_its_place_and_a_pause_counts_from_now(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    released, paused = rows.task(due_in=-100), rows.task(due_in=-50)
    before = rows.one(released).scheduled_at
    one, other = take(connection, me, 2)
    end(connection, me, one, verdict=Verdict(Ending.RELEASED))
    end(connection, me, other, verdict=Verdict(Ending.RELEASED, 1.0, REPORT))
    assert rows.one(released).scheduled_at == before
    assert rows.one(paused).scheduled_at > rows.one(paused).updated_at


def test_idle_workers_hear_how_far_back_what_was_released_lies(
    direct: Engine, connection: Connection, rows: Rows, me: UUID
) -> None:
    for due_in in (-100, -50, 0):
        rows.task(due_in=due_in)
    claims = take(connection, me, 3)
    with direct.connect() as listening:
        listening.execute(text("LISTEN spoils_tasks"))
        end(connection, me, claims[0])
        end(connection, me, claims[1], verdict=Verdict(Ending.RETRIED, 5, REPORT))
        connection.execute(text("SELECT pg_notify('spoils_tasks', 'nothing so far')"))
        assert heard(listening, 1) == ["nothing so far"]
        end(connection, me, claims[2], verdict=Verdict(Ending.RELEASED))
        assert float(heard(listening, 2)[1]) == -2
        rows.task(due_in=-70, state="in_progress", claimed_by=me)
        release_strays(connection, worker_id=me, held=[])
        assert -80 < float(heard(listening, 3)[2]) < -70


def test_of_duplicates_that_go_back_together_the_oldest_keeps_the_hash(
    connection: Connection, rows: Rows, me: UUID, beside_rust: None
) -> None:
    running = {"uniq_hash": "a" * 64, "state": "in_progress", "claimed_by": me}
    ids = [rows.task(created_at=f"2026-01-0{day}", **running) for day in (2, 1, 3)]
    rows.task(uniq_hash="b" * 64)
    rows.task(**{**running, "uniq_hash": "b" * 64})
    connection.execute(text("UPDATE fang_tasks SET claimed_at = now() WHERE claimed_by IS NOT NULL"))
    tokens = rows.all(
        "SELECT id::text, attempts, claimed_at::text FROM fang_tasks WHERE claimed_by IS NOT NULL"
    )
    settlements = [Settlement(key, n, Verdict(Ending.RETRIED, 5, REPORT), at, 1) for key, n, at in tokens]
    assert len(settle(connection, settlements, worker_id=me, release="v1")) == 4
    assert rows.all("SELECT id FROM fang_tasks WHERE uniq_hash = repeat('a', 64)") == [(ids[1],)]
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE uniq_hash = repeat('b', 64)") == 1


def test_a_duplicate_that_ends_beside_one_that_goes_back_takes_no_hash_from_it(
    connection: Connection, rows: Rows, me: UUID, beside_rust: None
) -> None:
    running = {"uniq_hash": "a" * 64, "state": "in_progress", "claimed_by": me}
    failed, back = (rows.task(created_at=f"2026-01-0{day}", **running) for day in (1, 2))
    connection.execute(text("UPDATE fang_tasks SET claimed_at = now()"))
    at = rows.value("SELECT min(claimed_at)::text FROM fang_tasks")
    verdicts = {failed: Verdict(Ending.FAILED, report=REPORT), back: Verdict(Ending.SNOOZED, 5)}
    settlements = [Settlement(str(key), 0, verdict, at, 1) for key, verdict in verdicts.items()]
    assert len(settle(connection, settlements, worker_id=me, release="v1")) == 2
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE uniq_hash IS NOT NULL") == 2


def test_a_number_of_retries_that_is_full_stays_so_and_spoils_no_batch(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    ids = {rows.task(retries=2**31 - 1), rows.task()}
    claims = take(connection, me, 2)
    assert end(connection, me, *claims, verdict=Verdict(Ending.RETRIED, 5, REPORT)) == ids
    assert rows.value("SELECT max(retries) FROM fang_tasks") == 2**31 - 1


@pytest.mark.parametrize("ending", [Ending.RETRIED, Ending.TIMED_OUT, Ending.SNOOZED, Ending.RELEASED])
def test_a_task_that_was_cancelled_meanwhile_has_nothing_to_go_back_for(
    connection: Connection, rows: Rows, me: UUID, ending: Ending
) -> None:
    task_id = rows.task()
    (claim,) = take(connection, me)
    connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
    assert end(connection, me, claim, verdict=Verdict(ending, 60)) == {task_id}
    row = rows.one(task_id)
    assert (row.state, row.error_message, row.cancel_requested_at) == (
        "failed",
        "Cancelled by an operator.",
        None,
    )


def test_a_settlement_ends_its_own_task_and_no_other_of_the_worker(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    for _ in range(3):
        rows.task()
    first, second, third = take(connection, me, 3)
    assert end(connection, me, second) == {second.id}
    assert end(connection, me, third, verdict=Verdict(Ending.FAILED, report=REPORT)) == {third.id}
    states = [rows.state(one.id) for one in (first, second, third)]
    assert states == ["in_progress", "finished", "failed"]
