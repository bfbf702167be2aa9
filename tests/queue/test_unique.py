"""Uniqueness by named fields, while a task waits, and within a window; and what becomes of a duplicate that waits."""

import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.client.client import enqueue_on
from spoils.db.engine import transaction
from spoils.errors import PayloadError
from spoils.job import Job, OnDuplicate, Queue, Unique
from spoils.job.outcome import FINISHED, Ending, Report, Verdict
from spoils.models import TaskState
from spoils.queue import prune
from spoils.queue.actions import Change, act
from spoils.queue.claim import Claim
from spoils.queue.enqueue import Enqueued, enqueue, enqueue_surely
from spoils.queue.enqueue_many import Order, enqueue_many
from spoils.queue.fence import ENTRY_TIMEOUT_MS, BlockedByOther
from spoils.queue.release import _RELEASE, release
from spoils.queue.rescue import rescue
from tests.locks import at_once, held, meanwhile
from tests.queue.hands import end, heard, take
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import eventually

FULL = bool(os.environ.get("SPOILS_TEST_FULL"))
CLIENTS, ENQUEUES, KEYS = (200, 1_000, 50) if FULL else (20, 60, 5)
SESSIONS = 25
LATER = datetime.now(UTC) + timedelta(days=1)
FAILED = Verdict(Ending.RETRIED, 0.0, Report("ValueError", "boom"))


class ActiveJob(Job):
    """Is unique by its key while it waits or runs."""

    key: str
    number: int = 0
    share: float = 0.5
    uniq = Unique("key")

    def run(self, queue: Queue) -> None: ...


class WaitingJob(Job):
    """Is unique by its key while it waits."""

    key: str
    number: int = 0
    uniq = Unique("key", while_="waiting")

    def run(self, queue: Queue) -> None: ...


class WindowJob(Job):
    """Is unique by its key for an hour."""

    key: str
    number: int = 0
    uniq = Unique("key", within=timedelta(hours=1), while_="waiting")

    def run(self, queue: Queue) -> None: ...


Put = Callable[..., Enqueued]


def by_statement(engine: Engine, job: Job, **options: Any) -> Enqueued:
    with transaction(engine) as connection:
        return enqueue(connection, job, **options)


def alone(engine: Engine, job: Job, **options: Any) -> Enqueued:
    return enqueue_surely(engine, job, **options)


def among_many(engine: Engine, job: Job, **options: Any) -> Enqueued:
    with transaction(engine) as connection:
        return enqueue_many(connection, [SampleJob(), Order(job, **options), UniqueSampleJob()])[1]


def by_application(engine: Engine, job: Job, **options: Any) -> Enqueued:
    with transaction(engine) as connection:
        (enqueued,) = enqueue_on(connection, [job], **options)
        return enqueued


@pytest.fixture(params=[by_statement, alone, among_many, by_application])
def put(request: pytest.FixtureRequest, engine: Engine) -> Put:
    """Each way in which a job is put in."""
    return lambda job, **options: request.param(engine, job, **options)


def claim(connection: Connection, worker_id: UUID, *kinds: type[Job]) -> Claim:
    (claimed,) = take(
        connection,
        worker_id,
        task_types=[kind.task_type for kind in kinds],
        kinds=[kind.__name__ for kind in kinds],
    )
    return claimed


def numbers(rows: Rows, key: str = "a", where: str = "true") -> list[int]:
    return [
        number
        for (number,) in rows.all(
            "SELECT (metadata ->> 'number')::int FROM fang_tasks "
            f"WHERE metadata ->> 'key' = :key AND {where} ORDER BY id",
            key=key,
        )
    ]


def press(engine: Engine, action: str, task_id: UUID) -> Change:
    """An operator's action."""
    with transaction(engine) as connection:
        return act(connection, action, task_id, who="admin")


def test_only_the_named_fields_make_a_duplicate(put: Put, rows: Rows) -> None:
    first = put(ActiveJob(key="a", number=1))
    assert not first.duplicate
    assert put(ActiveJob(key="a", number=2)) == first._replace(duplicate=True)
    assert not put(ActiveJob(key="b", number=1)).duplicate
    assert numbers(rows) == [1]


@pytest.mark.parametrize("kind", [ActiveJob, WaitingJob])
def test_while_one_runs_another_may_wait_only_if_the_class_is_unique_while_it_waits(
    put: Put, kind: type[Any], connection: Connection, rows: Rows
) -> None:
    first = put(kind(key="a", number=1))
    claim(connection, rows.worker(), kind)
    second = put(kind(key="a", number=2))
    assert second.duplicate is (kind is ActiveJob)
    assert (second.id == first.id) is (kind is ActiveJob)
    third = put(kind(key="a", number=3))
    assert third == second._replace(duplicate=True)


def test_replace_gives_the_one_that_waits_the_new_payload_and_leaves_its_moment(put: Put, rows: Rows) -> None:
    first = put(WaitingJob(key="a", number=1), at=LATER)
    again = put(WaitingJob(key="a", number=2), priority=1, on_duplicate="replace")
    assert again == first._replace(duplicate=True)
    row = rows.one(first.id)
    assert (row.metadata["number"], row.scheduled_at, row.priority) == (2, LATER, 1)


def test_reschedule_gives_it_the_new_moment_too(put: Put, rows: Rows) -> None:
    first = put(WaitingJob(key="a", number=1))
    moment = LATER + timedelta(hours=1)
    assert put(WaitingJob(key="a", number=2), at=moment, on_duplicate="reschedule").id == first.id
    row = rows.one(first.id)
    assert (row.metadata["number"], row.scheduled_at) == (2, moment)
    put(WaitingJob(key="a", number=3), on_duplicate="reschedule")
    row = rows.one(first.id)
    assert (row.metadata["number"], row.scheduled_at) == (3, row.updated_at)
    assert numbers(rows) == [3]


@pytest.mark.parametrize("on_duplicate", ["replace", "reschedule"])
def test_one_that_runs_is_left_and_one_more_waits(
    put: Put, on_duplicate: OnDuplicate, connection: Connection, rows: Rows
) -> None:
    first = put(WaitingJob(key="a", number=1), on_duplicate=on_duplicate)
    assert not first.duplicate
    claim(connection, rows.worker(), WaitingJob)
    second = put(WaitingJob(key="a", number=2), on_duplicate=on_duplicate)
    assert not second.duplicate
    assert put(WaitingJob(key="a", number=3), on_duplicate=on_duplicate).id == second.id
    assert numbers(rows) == [1, 3]
    assert numbers(rows, where="state = 'in_progress'") == [1]


def test_what_is_replaced_starts_anew(connection: Connection, rows: Rows) -> None:
    job = WaitingJob(key="a", number=1)
    task_id = rows.task(
        state="retried",
        metadata=job.to_wire(),
        task_type=job.task_type,
        uniq_hash=job.uniq_hash(),
        uniq_waiting=True,
        retries=3,
        attempts=4,
        crashes=1,
        error_message="boom",
    )
    connection.execute(
        text("INSERT INTO spoils_steps VALUES (:id, 'download', 4, '1', 5, now())"), {"id": task_id}
    )
    enqueue(connection, WaitingJob(key="a", number=2), on_duplicate="replace")
    row = rows.one(task_id)
    assert (row.state, row.retries, row.crashes, row.error_message) == ("new", 0, 0, None)
    assert row.attempts == 4, "the fence"
    assert rows.all("SELECT name FROM spoils_steps") == []


def test_a_replaced_job_wakes_workers_which_look_back_at_it(engine: Engine, direct: Engine) -> None:
    with engine.connect() as connection, direct.connect() as listening:
        enqueue(connection, WaitingJob(key="a"))
        listening.execute(text("LISTEN spoils_tasks"))
        enqueue(connection, WaitingJob(key="a", number=1), on_duplicate="replace")
        assert float(heard(listening, 1)[0]) <= -2


@pytest.mark.parametrize("on_duplicate", ["replace", "reschedule", "ignore"])
def test_what_cannot_be_replaced_is_refused_in_a_sentence(put: Put, on_duplicate: Any, rows: Rows) -> None:
    class PlainJob(Job):
        key: str

        def run(self, queue: Queue) -> None: ...

    class EqualJob(Job):
        key: str
        uniq = True

        def run(self, queue: Queue) -> None: ...

    for job in (PlainJob(key="a"), EqualJob(key="a"), ActiveJob(key="a")):
        with pytest.raises(
            PayloadError, match=r'^on_duplicate(="re.* on (Plain|Equal|Active)Job| is "skip", .*)\.$'
        ):
            put(job, on_duplicate=on_duplicate)
    assert rows.all("SELECT id FROM fang_tasks") == []


# A window.


def test_within_the_window_nothing_is_enqueued_whatever_became_of_the_last_one(
    put: Put, connection: Connection, rows: Rows
) -> None:
    first = put(WindowJob(key="a", number=1))
    worker_id = rows.worker()
    claimed = claim(connection, worker_id, WindowJob)
    assert put(WindowJob(key="a", number=2)) == Enqueued(first.key, first.state.IN_PROGRESS, True)
    end(connection, worker_id, claimed, verdict=FINISHED)
    assert put(WindowJob(key="a", number=3)) == Enqueued(first.key, first.state.FINISHED, True)
    assert not put(WindowJob(key="b", number=1)).duplicate
    pass_hour(connection)
    second = put(WindowJob(key="a", number=4))
    assert not second.duplicate
    assert put(WindowJob(key="a", number=5)) == second._replace(duplicate=True)
    assert numbers(rows) == [1, 4]


def pass_hour(connection: Connection) -> None:
    connection.execute(text("UPDATE spoils_unique_windows SET until = until - interval '1 hour'"))


def test_in_a_window_one_that_waits_is_replaced_all_the_same(put: Put, rows: Rows) -> None:
    first = put(WindowJob(key="a", number=1), at=LATER)
    assert put(WindowJob(key="a", number=2), on_duplicate="reschedule").id == first.id
    assert numbers(rows) == [2]


def test_after_the_window_one_that_still_waits_is_a_duplicate_and_opens_no_new_one(
    put: Put, engine: Engine, connection: Connection, rows: Rows
) -> None:
    first = put(WindowJob(key="a", number=1), at=LATER)
    pass_hour(connection)
    assert put(WindowJob(key="a", number=2)) == first._replace(duplicate=True)
    assert press(engine, "run_now", first.id).done
    claim(connection, rows.worker(), WindowJob)
    assert not put(WindowJob(key="a", number=3)).duplicate


def test_deleting_the_job_ends_its_window(put: Put, engine: Engine, rows: Rows) -> None:
    first = put(WindowJob(key="a", number=1))
    assert press(engine, "delete", first.id).done
    assert not put(WindowJob(key="a", number=2)).duplicate
    assert numbers(rows) == [2]


def test_a_transaction_that_rolls_back_opens_no_window(engine: Engine, rows: Rows) -> None:
    with held(engine) as connection:
        enqueue(connection, WindowJob(key="a", number=1))
        with meanwhile(engine, lambda other: enqueue(other, WindowJob(key="a", number=2))) as waiting:
            connection.rollback()
        assert not waiting.result(60).duplicate
    assert numbers(rows) == [2]


def test_a_client_that_waits_for_the_same_key_meets_what_was_committed(engine: Engine, rows: Rows) -> None:
    with held(engine) as connection:
        first = enqueue(connection, WindowJob(key="a", number=1))
        replacing = WindowJob(key="a", number=2)
        with meanwhile(engine, lambda other: enqueue(other, replacing, on_duplicate="replace")) as waiting:
            connection.commit()
        assert waiting.result(60) == first._replace(duplicate=True)
    assert numbers(rows) == [2]


def test_a_client_that_waits_for_the_same_key_meets_its_window_although_that_job_has_ended(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    enqueue(connection, WindowJob(key="a", number=1))
    connection.execute(text("UPDATE fang_tasks SET state = 'finished'"))
    pass_hour(connection)
    with held(engine) as other:
        second = enqueue(other, WindowJob(key="a", number=2))
        other.execute(text("UPDATE fang_tasks SET state = 'finished'"))
        with meanwhile(engine, lambda third: enqueue(third, WindowJob(key="a", number=3))) as waiting:
            other.commit()
        assert waiting.result(60) == Enqueued(second.key, TaskState.FINISHED, True)
    assert numbers(rows) == [1, 2]


def test_of_many_racing_clients_one_opens_the_window(engine: Engine, rows: Rows) -> None:
    for key in ("a", "b", "c"):

        def race(number: int, key: str = key) -> Enqueued:
            return enqueue_surely(engine, WindowJob(key=key, number=number))

        results = at_once(SESSIONS, race)
        assert sum(not one.duplicate for one in results) == 1
        assert len({one.id for one in results}) == 1
        assert len(numbers(rows, key)) == 1


def test_of_many_racing_clients_one_opens_the_window_although_each_job_ends_at_once(
    engine: Engine, connection: Connection
) -> None:
    """So that no waiting job stands in the way of a second one."""

    def race(number: int) -> bool:
        enqueued = enqueue_surely(engine, WindowJob(key="a", number=number))
        if not enqueued.duplicate:
            with engine.connect() as own:
                own.execute(
                    text("UPDATE fang_tasks SET state = 'finished' WHERE id = :id"), {"id": enqueued.id}
                )
        return not enqueued.duplicate

    for _ in range(10):
        pass_hour(connection)
        assert sum(at_once(SESSIONS, race)) == 1


def test_windows_that_have_passed_are_pruned_and_a_task_outlives_its_window(
    connection: Connection, rows: Rows
) -> None:
    first = enqueue(connection, WindowJob(key="a"))
    connection.execute(
        text("UPDATE fang_tasks SET state = 'finished', updated_at = now() - interval '9 days'")
    )
    assert prune.prune_windows(connection) == 0
    assert prune.prune_tasks(connection, first.state.FINISHED, days=7) == 0
    pass_hour(connection)
    assert prune.prune_tasks(connection, first.state.FINISHED, days=7) == 1
    assert prune.prune_windows(connection) == 1


# Going back to waiting.


def give_back(connection: Connection, worker_id: UUID, claimed: Claim, how: str) -> None:
    match how:
        case "retry":
            assert end(connection, worker_id, claimed, verdict=FAILED) == {claimed.id}
        case "release":
            assert release(connection, worker_id=worker_id, tokens=[claimed.token]) == [claimed.id]
        case "rescue":
            beat = connection.execute(
                text("SELECT beat_at::text FROM spoils_workers WHERE id = :id"), {"id": worker_id}
            ).scalar_one()
            assert rescue(connection, worker_id=worker_id, beat=beat).tasks == 1


@pytest.mark.parametrize("how", ["retry", "release", "rescue"])
def test_one_that_goes_back_while_a_newer_one_waits_is_no_longer_unique(
    connection: Connection, rows: Rows, how: Literal["retry", "release", "rescue"]
) -> None:
    worker_id = rows.worker()
    old = enqueue(connection, WaitingJob(key="a", number=1))
    claimed = claim(connection, worker_id, WaitingJob)
    new = enqueue(connection, WaitingJob(key="a", number=2))
    give_back(connection, worker_id, claimed, how)
    assert rows.state(old.id) in ("new", "retried")
    assert (rows.one(old.id).uniq_hash, rows.one(new.id).uniq_hash) == (None, WaitingJob(key="a").uniq_hash())
    assert enqueue(connection, WaitingJob(key="a", number=3), on_duplicate="replace").id == new.id
    assert numbers(rows) == [1, 3]


@pytest.mark.parametrize("how", ["retry", "release", "rescue"])
def test_one_that_goes_back_alone_is_unique_again(
    connection: Connection, rows: Rows, how: Literal["retry", "release", "rescue"]
) -> None:
    worker_id = rows.worker()
    first = enqueue(connection, WaitingJob(key="a", number=1))
    give_back(connection, worker_id, claim(connection, worker_id, WaitingJob), how)
    assert enqueue(connection, WaitingJob(key="a", number=2)).id == first.id


def test_one_that_goes_back_may_meet_one_that_is_just_being_enqueued(
    engine: Engine, connection: Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for that transaction, here for long, and then it is no longer unique."""
    for text_of in ("_text_within", "_executing_within"):
        before = getattr(_RELEASE._statement, text_of)
        patient = before.replace(f"lock_timeout = {ENTRY_TIMEOUT_MS}", "lock_timeout = 20000")
        monkeypatch.setattr(_RELEASE._statement, text_of, patient)
    worker_id = rows.worker()
    enqueue(connection, WaitingJob(key="a", number=1))
    claimed = claim(connection, worker_id, WaitingJob)
    with held(engine) as other:
        enqueue(other, WaitingJob(key="a", number=2))
        with ThreadPoolExecutor(1) as thread, engine.connect() as releasing:
            pid = releasing.execute(text("SELECT pg_backend_pid()")).scalar_one()
            released = thread.submit(release, releasing, worker_id=worker_id, tokens=[claimed.token])
            eventually(lambda: rows.value("SELECT cardinality(pg_blocking_pids(:pid)) > 0", pid=pid))
            other.commit()
            assert released.result(60) == [claimed.id]
    assert rows.one(claimed.id).uniq_hash is None


def test_two_that_ran_at_once_go_back_together_and_one_keeps_the_hash(
    connection: Connection, rows: Rows
) -> None:
    worker_id = rows.worker()
    claims = []
    for number in (1, 2):
        enqueue(connection, WaitingJob(key="a", number=number))
        claims.append(claim(connection, worker_id, WaitingJob))
    assert len(end(connection, worker_id, *claims, verdict=FAILED)) == 2
    assert [row.uniq_hash is None for row in map(rows.one, [one.id for one in claims])] == [False, True]


def test_an_operator_s_retry_meets_a_newer_one_that_waits_but_none_that_runs(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    worker_id = rows.worker()
    enqueue(connection, WaitingJob(key="a", number=1))
    failed = claim(connection, worker_id, WaitingJob)
    end(connection, worker_id, failed, verdict=Verdict(Ending.FAILED, report=Report("E", "boom")))
    newer = enqueue(connection, WaitingJob(key="a", number=2))
    refused = press(engine, "retry", failed.id)
    assert (refused.done, refused.duplicate) == (False, newer.id)
    claim(connection, worker_id, WaitingJob)
    assert press(engine, "retry", failed.id).done


def test_the_duplicate_is_found_by_the_index(connection: Connection) -> None:
    connection.execute(text("SET enable_seqscan = off"))
    plan = connection.execute(
        text(
            "EXPLAIN SELECT id FROM fang_tasks WHERE uniq_hash = 'x' AND uniq_hash IS NOT NULL AND "
            "(state IN ('new', 'retried') OR state = 'in_progress' AND uniq_waiting IS NOT TRUE)"
        )
    ).scalars()
    assert "fang_tasks_active_hash_idx" in "\n".join(plan)
    connection.execute(text("RESET enable_seqscan"))


# Many at once.


def test_of_many_debounced_enqueues_one_waits_for_each_key_with_the_last_payload(
    engine: Engine, rows: Rows
) -> None:
    last: list[dict[str, int]] = [{} for _ in range(CLIENTS)]
    due = datetime.now(UTC) + timedelta(hours=1)

    def client(number: int) -> None:
        for turn in range(ENQUEUES):
            key, value = f"k{(turn * 7 + number) % KEYS}", number * 1_000_000 + turn
            enqueue_surely(engine, WaitingJob(key=key, number=value), at=due, on_duplicate="reschedule")
            last[number][key] = value

    # More clients than sessions wait for a session, as those of a web server do.
    at_once(CLIENTS, client)
    lasts: dict[str, set[int]] = defaultdict(set)
    for values in last:
        for key, value in values.items():
            lasts[key].add(value)
    waiting = rows.all("SELECT metadata ->> 'key', (metadata ->> 'number')::int, state::text FROM fang_tasks")
    assert sorted(key for key, _, _ in waiting) == sorted(lasts)
    assert [
        (key, number) for key, number, state in waiting if number not in lasts[key] or state != "new"
    ] == []


def settle_like_a_settler(connection: Connection, worker_id: UUID, one: Claim, verdict: Verdict) -> None:
    """It writes again what met a duplicate that was inserted after its statement had begun."""

    def settle() -> bool:
        try:
            return end(connection, worker_id, one, verdict=verdict) == {one.id}
        except BlockedByOther:
            return False

    eventually(settle)


def test_debounced_enqueues_beside_workers_lose_no_last_payload(engine: Engine, rows: Rows) -> None:
    """What was enqueued last for a key is performed last, or waits."""
    worker_id = rows.worker()
    performed: dict[str, list[int]] = defaultdict(list)
    clients = 8

    def act_one(number: int) -> None:
        for turn in range(ENQUEUES):
            if number:
                job = WaitingJob(key=f"k{number}", number=turn)
                enqueue_surely(engine, job, on_duplicate="reschedule")
                continue
            with engine.connect() as connection:
                for one in take(
                    connection,
                    worker_id,
                    limit=3,
                    task_types=[WaitingJob.task_type],
                    kinds=["WaitingJob"],
                ):
                    job = WaitingJob.from_wire(one.metadata)  # type: ignore[assignment]
                    performed[job.key].append(job.number)
                    verdict = FAILED if turn % 3 == 0 else FINISHED
                    settle_like_a_settler(connection, worker_id, one, verdict)

    at_once(clients, act_one)
    for number in range(1, clients):
        key = f"k{number}"
        waiting = numbers(rows, key, "state IN ('new', 'retried') AND uniq_hash IS NOT NULL")
        assert len(waiting) <= 1
        still = numbers(rows, key, "state IN ('new', 'retried')")
        assert ENQUEUES - 1 in (*performed[key], *still), "the last payload"
