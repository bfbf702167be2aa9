"""A table shared with fang's workers, which claim by a SELECT and a later UPDATE, and know no fence."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db import sharing
from spoils.db.engine import transaction
from spoils.job.outcome import Ending, Verdict
from spoils.queue.actions import act
from spoils.queue.claim import Claim
from spoils.queue.enqueue import enqueue
from spoils.queue.fence import BlockedByOther, still_ours
from spoils.queue.release import release, release_strays
from spoils.queue.rescue import Rescue, rescue, rescue_foreign, rescue_orphans, rescue_rest
from tests.locks import at_once, held, meanwhile
from tests.migrations.old_tables import FANG_CLAIM, FANG_FINISH, FANG_RETRY, FANG_SELECT
from tests.queue.hands import end, take
from tests.rows import Rows
from tests.sample_jobs import UniqueSampleJob

HASH = "a" * 64
LONG_AGO = "2025-03-01T00:00:00Z"


@pytest.fixture(autouse=True)
def shared(engine: Engine) -> None:
    with transaction(engine) as connection:
        sharing.begin(connection)


class Rust:
    """A worker of fang's on a connection of its own; each of its statements is a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def select(self, task_type: str = "sample") -> UUID | None:
        found: UUID | None = self._connection.scalar(text(FANG_SELECT), {"task_type": task_type})
        return found

    def claim(self, task_id: UUID) -> bool:
        """Whether it has the task: fang looks for another one where no row comes back."""
        return self._does(FANG_CLAIM, task_id)

    def finish(self, task_id: UUID) -> bool:
        return self._does(FANG_FINISH, task_id)

    def retry(self, task_id: UUID) -> bool:
        return self._does(FANG_RETRY, task_id)

    def _does(self, statement: str, task_id: UUID) -> bool:
        return self._connection.execute(text(statement), {"id": task_id}).one_or_none() is not None


@pytest.fixture
def rust(connection: Connection) -> Rust:
    return Rust(connection)


def test_a_task_that_another_has_claimed_since_it_was_selected_is_not_claimed_twice(
    engine: Engine, rust: Rust, rows: Rows, me: UUID
) -> None:
    ours, theirs = rows.task(due_in=-20), rows.task(due_in=-10, task_type="of_rust")
    assert rust.select() == ours
    assert rust.select("of_rust") == theirs
    (claim,) = take(rows.connection, me)
    with engine.connect() as second:
        assert Rust(second).claim(theirs)
    before = rows.all("SELECT fang_tasks::text FROM fang_tasks ORDER BY id")
    assert not rust.claim(ours)
    assert not rust.claim(theirs)
    assert rows.all("SELECT fang_tasks::text FROM fang_tasks ORDER BY id") == before
    assert end(rows.connection, me, claim) == {ours}


@pytest.mark.parametrize("state", ["finished", "failed", "in_progress"])
def test_what_no_longer_waits_is_not_claimed(rust: Rust, rows: Rows, state: str) -> None:
    task_id = rows.task(state=state)
    assert not rust.claim(task_id)
    assert rows.state(task_id) == state


def test_a_claim_that_waits_for_another_one_of_the_same_task_loses(
    engine: Engine, rust: Rust, rows: Rows
) -> None:
    task_id = rows.task()
    with held(engine) as first:
        assert Rust(first).claim(task_id)
        with meanwhile(engine, lambda connection: Rust(connection).claim(task_id)) as second:
            first.commit()
        assert not second.result()
    assert rust.finish(task_id)


def test_who_settled_a_task_before_is_not_the_owner_of_a_claim_by_fang(
    rust: Rust, rows: Rows, me: UUID
) -> None:
    gone = rows.worker(ended=True)
    ids = [
        rows.task(state=state, claimed_by=owner, claimed_at=LONG_AGO)
        for state, owner in (("new", me), ("retried", gone))
    ]
    for task_id in ids:
        assert rust.claim(task_id)
        row = rows.one(task_id)
        assert (row.state, row.claimed_by, row.claimed_at) == ("in_progress", None, None)
    assert rescue_orphans(rows.connection) == []
    assert sorted(rescue_foreign(rows.connection, timeout_seconds=0)) == sorted(ids)


def test_an_operator_may_ask_a_running_task_to_stop_whoever_runs_it(rust: Rust, rows: Rows, me: UUID) -> None:
    theirs = rows.task()
    assert rust.claim(theirs)
    ours = rows.task()
    take(rows.connection, me)
    for task_id in (ours, theirs):
        before = rows.one(task_id)
        with transaction(rows.connection.engine) as connection:
            change = act(connection, "cancel", task_id, who="admin")
        assert change.sentence == "1 running job was asked to stop."
        after = rows.one(task_id)
        assert after.cancel_requested_at is not None
        assert (after.state, after.claimed_by) == ("in_progress", before.claimed_by)


def test_a_task_that_fang_tries_again_loses_its_hash_where_a_duplicate_waits(rust: Rust, rows: Rows) -> None:
    runs = enqueue(rows.connection, UniqueSampleJob(number=1)).id
    assert rust.claim(runs)
    waits = enqueue(rows.connection, UniqueSampleJob(number=1)).id
    other = enqueue(rows.connection, UniqueSampleJob(number=2)).id
    assert rust.claim(other)
    assert rust.retry(runs)
    assert rust.retry(other)
    assert (rows.one(runs).uniq_hash, rows.one(runs).state) == (None, "retried")
    assert None not in {rows.one(waits).uniq_hash, rows.one(other).uniq_hash}


def test_two_running_duplicates_go_back_in_one_statement(rows: Rows) -> None:
    ids = [rows.task(state="in_progress", uniq_hash=HASH) for _ in range(2)]
    assert sorted(rescue_foreign(rows.connection, timeout_seconds=0)) == sorted(ids)
    assert Counter(rows.one(task_id).uniq_hash for task_id in ids) == {HASH: 1, None: 1}


@contextmanager
def duplicate_inserted(engine: Engine) -> Iterator[None]:
    """Another transaction has inserted a waiting task with this hash, and is open."""
    with held(engine) as other:
        Rows(other).task(uniq_hash=HASH, due_in=3600)
        yield
        other.commit()


def test_an_outcome_that_waits_for_an_open_insert_of_a_duplicate_is_told_and_holds_up_no_other(
    engine: Engine, rows: Rows, me: UUID
) -> None:
    blocked, *others = [rows.task(uniq_hash=HASH), rows.task(uniq_hash="b" * 64), rows.task()]
    claims = take(rows.connection, me, 3)
    verdict = Verdict(Ending.RETRIED, 60)
    with duplicate_inserted(engine):
        for skip_locked in (False, True):
            with pytest.raises(BlockedByOther):
                end(rows.connection, me, *claims, verdict=verdict, skip_locked=skip_locked)
        for claim in claims:
            if claim.id != blocked:
                assert end(rows.connection, me, claim, verdict=verdict) == {claim.id}
        assert [rows.state(task_id) for task_id in (blocked, *others)] == ["in_progress", *["retried"] * 2]
        token = next(claim.token for claim in claims if claim.id == blocked)
        assert still_ours(rows.connection, [token], worker_id=me) == {str(blocked)}
    assert end(rows.connection, me, *claims, verdict=verdict) == {blocked}
    assert (rows.state(blocked), rows.one(blocked).uniq_hash) == ("retried", None)


def released(connection: Connection, claims: list[Claim], worker_id: UUID) -> set[UUID]:
    tokens = [claim.token for claim in claims]
    return set(release(connection, worker_id=worker_id, tokens=tokens))


def strays_released(connection: Connection, claims: list[Claim], worker_id: UUID) -> set[UUID]:
    given_back, left = release_strays(connection, worker_id=worker_id, held=[])
    assert left == (len(given_back) < len(claims))
    return set(given_back)


def orphans_rescued(connection: Connection, claims: list[Claim], worker_id: UUID) -> set[UUID]:
    connection.execute(text("UPDATE spoils_workers SET ended_at = now(), ended_how = 'clean'"))
    return set(rescue_orphans(connection))


def foreign_rescued(connection: Connection, claims: list[Claim], worker_id: UUID) -> set[UUID]:
    connection.execute(text("UPDATE fang_tasks SET claimed_by = NULL WHERE state = 'in_progress'"))
    return set(rescue_foreign(connection, timeout_seconds=0))


@pytest.mark.parametrize("give_back", [released, strays_released, orphans_rescued, foreign_rescued])
def test_a_task_that_cannot_go_back_for_an_open_insert_of_a_duplicate_holds_up_no_other(
    engine: Engine,
    rows: Rows,
    me: UUID,
    give_back: Callable[[Connection, list[Claim], UUID], set[UUID]],
) -> None:
    blocked, *others = [rows.task(uniq_hash=HASH), rows.task(uniq_hash="b" * 64), rows.task()]
    claims = take(rows.connection, me, 3)
    with duplicate_inserted(engine):
        assert give_back(rows.connection, claims, me) == set(others)
        left = [claim for claim in claims if claim.id == blocked]
        assert give_back(rows.connection, left, me) == set()
        assert rows.state(blocked) == "in_progress"
    assert give_back(rows.connection, left, me) == {blocked}
    assert (rows.state(blocked), rows.one(blocked).uniq_hash) == ("new", None)


def test_a_rescue_leaves_what_an_open_insert_of_a_duplicate_blocks_and_condemns_none(
    engine: Engine, rows: Rows, me: UUID
) -> None:
    running = {"state": "in_progress", "claimed_by": me, "claimed_at": LONG_AGO}
    blocked = rows.task(**running, uniq_hash=HASH, crashes=2)
    others = [rows.task(**running, crashes=2), rows.task(**running)]
    beat = rows.value("SELECT beat_at::text FROM spoils_workers")
    with duplicate_inserted(engine):
        assert rescue(rows.connection, worker_id=me, beat=beat) == Rescue(True, 2, left=1)
        assert rescue_rest(rows.connection, worker_id=me) == Rescue(False, 0, left=1)
    assert rescue_rest(rows.connection, worker_id=me) == Rescue(False, 1)
    assert [rows.state(task_id) for task_id in (blocked, *others)] == ["new"] * 3


def test_four_workers_of_fang_and_four_of_ours_run_each_task_once(engine: Engine, rows: Rows) -> None:
    number = 400
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type) "
            "SELECT '{\"type\": \"SampleJob\"}', 'sample' FROM generate_series(1, :number)"
        ),
        {"number": number},
    )
    workers = [rows.worker() for _ in range(4)]
    claimed: list[UUID] = []
    finished: list[UUID] = []
    done = threading.Event()
    deadline = time.monotonic() + 60

    def work(hand: int) -> None:
        with engine.connect() as connection:
            while not done.is_set() and time.monotonic() < deadline:
                if hand < 4:
                    work_as_fang(Rust(connection))
                else:
                    work_as_we_do(connection, workers[hand - 4])
                if len(finished) >= number:
                    done.set()

    def work_as_fang(rust: Rust) -> None:
        task_id = rust.select()
        if task_id is not None and rust.claim(task_id):
            claimed.append(task_id)
            if rust.finish(task_id):
                finished.append(task_id)

    def work_as_we_do(connection: Connection, worker_id: UUID) -> None:
        claims = take(connection, worker_id, 3)
        claimed.extend(claim.id for claim in claims)
        finished.extend(end(connection, worker_id, *claims))

    at_once(8, work)
    assert {task_id: times for task_id, times in Counter(claimed).items() if times > 1} == {}
    assert len(claimed) == len(set(finished)) == len(finished) == number
    assert rows.all("SELECT state::text, count(*) FROM fang_tasks GROUP BY 1") == [("finished", number)]
