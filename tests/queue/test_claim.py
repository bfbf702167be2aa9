"""Claiming: what is due, in order, once; by whom that lives."""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text

from spoils.models import TaskState
from spoils.queue.worker_rows import HeartbeatResult, heartbeat
from tests.locks import held
from tests.queue.hands import KINDS, TYPES, end, explaining, moment, take, take_suspect
from tests.rows import Rows


def test_a_claim_takes_the_task_in_hand(connection: Connection, rows: Rows, me: UUID) -> None:
    task_id = rows.task(metadata={"type": "SampleJob", "number": 3}, retries=2)
    (claim,) = take(connection, me)
    row = rows.one(task_id)
    assert (row.state, row.claimed_by, row.attempts, row.retries) == ("in_progress", me, 1, 2)
    assert (claim.id, claim.task_type, claim.kind, claim.attempts, claim.retries, claim.crashes) == (
        task_id, "sample", "SampleJob", 1, 2, 0,
    )  # fmt: skip
    assert claim.metadata == '{"type": "SampleJob", "number": 3}'
    assert (moment(claim.claimed_at), moment(claim.scheduled_at)) == (row.claimed_at, row.scheduled_at)
    assert row.updated_at == row.claimed_at
    assert not claim.suspect


def test_each_claim_of_a_task_is_counted(connection: Connection, rows: Rows, me: UUID) -> None:
    task_id = rows.task()
    for attempts in (1, 2, 3):
        (claim,) = take(connection, me)
        assert claim.attempts == attempts == rows.one(task_id).attempts
        connection.execute(text("UPDATE fang_tasks SET state = 'retried', claimed_by = NULL"))


def test_the_highest_priority_comes_first_then_what_is_due_longest_then_the_lowest_id(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    low_old = rows.task(priority=-2, due_in=-1000)
    plain_new, plain_old = rows.task(due_in=-10), rows.task(due_in=-20)
    high_other_type = rows.task(priority=2, due_in=-1, task_type="unique_sample")
    high = rows.task(priority=2, due_in=-5)
    retried = rows.task(priority=1, state="retried")
    expected = [high, high_other_type, retried, plain_old, plain_new, low_old]
    assert [claim.id for claim in take(connection, me, 10)] == expected


def test_ties_are_taken_by_id(connection: Connection, rows: Rows, me: UUID) -> None:
    ids = [rows.task() for _ in range(20)]
    connection.execute(text("UPDATE fang_tasks SET scheduled_at = now()"))
    taken = [take(connection, me)[0].id for _ in range(20)]
    assert taken == sorted(ids)


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_a_claim_never_takes_more_than_its_limit_over_all_types_and_priorities(
    connection: Connection, rows: Rows, me: UUID, limit: int
) -> None:
    for priority in range(-2, 3):
        for task_type in ("sample", "unique_sample", "common"):
            for _ in range(3):
                rows.task(priority=priority, task_type=task_type)
    left = 45
    while claims := take(connection, me, limit):
        assert len(claims) == min(limit, left)
        left -= len(claims)
        assert rows.value("SELECT count(*) FROM fang_tasks WHERE state <> 'in_progress'") == left
    assert left == 0


def test_what_is_not_due_stays(connection: Connection, rows: Rows, me: UUID) -> None:
    rows.task(due_in=60)
    infinite = rows.task()
    connection.execute(
        text("UPDATE fang_tasks SET scheduled_at = 'infinity' WHERE id = :id"), {"id": infinite}
    )
    assert take(connection, me, 10) == []


@pytest.mark.parametrize("state", ["in_progress", "finished", "failed"])
def test_what_does_not_wait_stays(connection: Connection, rows: Rows, me: UUID, state: str) -> None:
    task_id = rows.task(state=state)
    before = rows.one(task_id)
    assert take(connection, me, 10) == []
    assert rows.one(task_id) == before


@pytest.mark.parametrize("moment", ["-infinity", "4713-01-01 BC", "0001-01-01", "1970-01-01"])
def test_a_row_of_a_strange_age_is_taken_and_settled_like_any(
    connection: Connection, rows: Rows, me: UUID, moment: str
) -> None:
    old, plain = rows.task(), rows.task(due_in=-5)
    connection.execute(
        text("UPDATE fang_tasks SET scheduled_at = CAST(:m AS timestamptz) WHERE id = :id"),
        {"m": moment, "id": old},
    )
    claims = take(connection, me, 10)
    assert [claim.id for claim in claims] == [old, plain]
    assert end(connection, me, *claims) == {old, plain}


def test_a_row_whose_attempts_are_full_is_taken_and_settled_and_stops_no_other(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    full, plain = rows.task(attempts=2**31 - 1), rows.task()
    claims = take(connection, me, 10)
    assert {claim.id: claim.attempts for claim in claims} == {full: 1, plain: 1}
    assert end(connection, me, *claims) == {full, plain}


def test_only_the_types_that_are_asked_for_are_taken(connection: Connection, rows: Rows, me: UUID) -> None:
    rows.task(task_type="elsewhere")
    mine = rows.task(task_type="sample")
    assert [claim.id for claim in take(connection, me, 10, task_types=["sample", "nowhere"])] == [mine]
    assert take(connection, me, 10, task_types=[]) == []


@pytest.mark.parametrize("task_type", ["sample", "common"])
def test_a_task_of_a_class_that_is_not_known_here_is_left_alone(
    connection: Connection, rows: Rows, me: UUID, task_type: str
) -> None:
    metadata = {"type": "OfAnotherRelease"}
    rows.task(task_type=task_type, metadata=metadata)
    rows.task(task_type=task_type, metadata=metadata, crashes=2)
    soon = rows.task(task_type=task_type, metadata=metadata, due_in=2)
    known = rows.task(task_type=task_type, metadata={"type": "SampleJob"})

    def beat(kinds: Sequence[str]) -> HeartbeatResult:
        return heartbeat(
            connection,
            worker_id=me,
            rss=None,
            running=0,
            performing=[],
            draining=False,
            task_types=TYPES,
            kinds=kinds,
        )

    heard = beat(KINDS)
    assert (heard.suspect_due, heard.next_due_seconds) == (False, None)
    assert [claim.id for claim in take(connection, me, 10)] == [known]
    assert take_suspect(connection, me) == []
    assert take(connection, me, 10, kinds=[]) == []
    heard = beat(["OfAnotherRelease"])
    assert heard.suspect_due
    assert heard.next_due_seconds is not None
    assert len(take(connection, me, 10, kinds=["OfAnotherRelease"])) == 1
    assert rows.state(soon) == "new"


@pytest.mark.parametrize("task_type", ["sample", "common"])
@pytest.mark.parametrize("metadata", [[], ["type"], "text", 5, {}, {"type": None}, {"type": ["x"]}])
def test_a_task_that_names_no_class_is_taken_by_anybody(
    connection: Connection, rows: Rows, me: UUID, task_type: str, metadata: object
) -> None:
    rows.task(task_type=task_type, metadata=metadata)
    rows.task(task_type=task_type, metadata=metadata, retries=-1)
    assert len(take(connection, me, 10, kinds=[])) == 2


def test_a_row_that_another_holds_locked_is_passed_over(engine: Engine, rows: Rows, me: UUID) -> None:
    other = rows.worker()
    first, second = rows.task(due_in=-2), rows.task(due_in=-1)
    with held(engine) as one, held(engine) as two:
        assert [claim.id for claim in take(one, me)] == [first]
        two.execute(text("SET LOCAL lock_timeout = '5s'"))
        assert [claim.id for claim in take(two, other, 5)] == [second]
        two.commit()
        one.rollback()
    assert rows.state(first) == "new"
    assert rows.one(second).claimed_by == other


def test_a_worker_whose_row_has_ended_or_never_was_claims_nothing(connection: Connection, rows: Rows) -> None:
    task_id, suspect = rows.task(), rows.task(crashes=2)
    for worker_id in (rows.worker(ended=True), UUID(int=5)):
        assert take(connection, worker_id, 10) == []
        assert take_suspect(connection, worker_id) == []
    assert rows.state(task_id) == rows.state(suspect) == "new"


def test_suspects_are_left_to_the_claim_of_suspects_which_takes_the_oldest_one_only(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    plain, once = rows.task(), rows.task(crashes=1, due_in=-1)
    newer, older = rows.task(crashes=2, due_in=-1), rows.task(crashes=3, due_in=-2)
    rows.task(crashes=2, due_in=60)
    rows.task(crashes=2, task_type="elsewhere", due_in=-9)
    rows.task(crashes=2, task_type="common", metadata={"type": "RustTask"}, due_in=-9)
    assert [claim.id for claim in take(connection, me, 10)] == [once, plain]
    (claim,) = take_suspect(connection, me)
    assert claim.id == older
    assert claim.suspect
    assert [claim.id for claim in take_suspect(connection, me)] == [newer]
    assert take_suspect(connection, me) == []


def test_a_thousand_tasks_are_taken_once_each_by_eight_threads(engine: Engine, rows: Rows) -> None:
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, priority) "
            """SELECT '{"type": "SampleJob"}', 'sample', n % 5 - 2 FROM generate_series(1, 1000) AS n"""
        )
    )
    workers = [rows.worker() for _ in range(8)]
    taken: Counter[UUID] = Counter()
    lock, done = threading.Lock(), threading.Event()

    def work(worker_id: UUID) -> None:
        with engine.connect() as connection:
            while not done.is_set():
                claims = take(connection, worker_id, 7)
                with lock:
                    taken.update(claim.id for claim in claims)
                    if taken.total() >= 1000:
                        done.set()
                assert end(connection, worker_id, *claims) == {claim.id for claim in claims}

    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(work, worker_id) for worker_id in workers]
        if not done.wait(60):
            done.set()
        for one in running:
            one.result()
    assert {task_id: times for task_id, times in taken.items() if times > 1} == {}, "these ran twice"
    assert rows.all("SELECT state, attempts, count(*) FROM fang_tasks GROUP BY 1, 2") == [
        ("finished", 1, 1000)
    ]


def test_the_claim_never_scans_the_table(engine: Engine, rows: Rows, me: UUID) -> None:
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, state, priority, crashes, scheduled_at) "
            """SELECT '{"type": "SampleJob"}', (ARRAY['sample', 'unique_sample', 'common', 'elsewhere'])[n % 4 + 1], """
            "CAST(CASE WHEN n % 2 = 0 THEN 'finished' ELSE 'new' END AS fang_task_state), n % 5 - 2, "
            "CASE WHEN n % 400 = 1 THEN 2 ELSE 0 END, now() - make_interval(secs => n) "
            "FROM generate_series(1, 40000) AS n"
        )
    )
    rows.connection.execute(text("ANALYZE fang_tasks"))
    plans: list[str] = []

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def explained(
        _c: object, _u: object, statement: str, parameters: object, *_: object
    ) -> tuple[str, object]:
        return (explaining(statement) if "fang_tasks" in statement else statement), parameters

    @event.listens_for(engine, "after_cursor_execute")
    def collect(_c: object, cursor: object, statement: str, *_: object) -> None:
        if "EXPLAIN" in statement:
            plans.append("\n".join(row[0] for row in cursor.fetchall()))  # type: ignore[attr-defined]

    with engine.connect() as connection:
        for one in (lambda: take(connection, me, 5), lambda: take_suspect(connection, me)):
            with suppress(IndexError):  # the rows are gone with the plan
                one()
    assert len(plans) == 2
    for plan in plans:
        assert "Seq Scan on fang_tasks" not in plan, plan
        assert "SKIP" in plan or "LockRows" in plan, plan
    assert "fang_tasks_claim_idx" in plans[0]
    assert "fang_tasks_suspect_idx" in plans[1]


def test_a_claim_is_of_no_state_but_in_progress(connection: Connection, rows: Rows, me: UUID) -> None:
    rows.task(claimed_at=datetime(2020, 1, 1, tzinfo=UTC))
    take(connection, me, kinds=KINDS)
    assert rows.all("SELECT state::text, claimed_at > '2024-01-01' FROM fang_tasks") == [
        (TaskState.IN_PROGRESS.value, True)
    ]
