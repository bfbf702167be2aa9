"""Limits: never more at once than that, in order, and a place is free whatever ended its task."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import transaction
from spoils.job import Concurrency, Job, Queue, Rate
from spoils.job.outcome import Ending, Verdict
from spoils.models import HoldKind
from spoils.queue.actions import act
from spoils.queue.claim import Claim
from spoils.queue.claim_limited import LimitedClaims, claim_limited, due_keys
from spoils.queue.enqueue import enqueue
from spoils.queue.enqueue_many import Order, enqueue_many
from spoils.queue.holds import drop_past_holds, held_until
from spoils.queue.limits import drop_stale_places, publish, put_under_limits, repair
from spoils.queue.release import release
from spoils.queue.rescue import rescue
from spoils.queue.unknown_classes import fail_unknown
from spoils.queue.worker_rows import HeartbeatResult, heartbeat
from tests.classes import throw_away_classes
from tests.queue.hands import end, heard, take
from tests.rows import Rows

Define = Callable[..., type[Any]]


@pytest.fixture
def define() -> Iterator[Define]:
    """Define a class with the fields `number` and `user`, and these limits; it is thrown away after the test."""

    def run(self: Job, queue: Queue) -> None: ...

    def made(name: str, *limits: Any, **body: Any) -> type[Any]:
        fields = {"__annotations__": {"number": int, "user": str}, "number": 0, "user": "ann"}
        return type(Job)(
            name, (Job,), {"__module__": __name__, **fields, "run": run, "limits": limits, **body}
        )

    with throw_away_classes():
        yield made


@pytest.fixture
def me(rows: Rows) -> UUID:
    return rows.worker()


def published(engine: Engine, *job_classes: type[Job]) -> None:
    with transaction(engine) as connection:
        publish(connection, job_classes)


def look(
    connection: Connection, worker_id: UUID, *job_classes: type[Job], limit: int = 100, **options: Any
) -> LimitedClaims:
    return claim_limited(
        connection,
        worker_id=worker_id,
        task_types=[one.task_type for one in job_classes],
        kinds=[one.__name__ for one in job_classes],
        limit=limit,
        **options,
    )


def start(connection: Connection, worker_id: UUID, *job_classes: type[Job], limit: int = 100) -> list[Claim]:
    """Claim until nothing more may start."""
    claims: list[Claim] = []
    found = look(connection, worker_id, *job_classes, limit=limit)
    while found.claims:
        claims += found.claims
        found = look(connection, worker_id, *job_classes, limit=limit, after=found.reached)
    return claims


def numbers(claims: list[Claim]) -> list[int]:
    return [json.loads(one.metadata)["number"] for one in claims]


def parked(rows: Rows) -> int:
    return int(rows.value("SELECT count(*) FROM spoils_parked"))


def places(rows: Rows) -> int:
    return int(rows.value("SELECT count(*) FROM spoils_limit_places"))


def running(rows: Rows) -> int:
    return int(rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'in_progress'"))


def heartbeat_of(connection: Connection, worker_id: UUID, job_class: type[Job]) -> HeartbeatResult:
    return heartbeat(
        connection,
        worker_id=worker_id,
        rss=None,
        running=0,
        performing=[],
        draining=False,
        task_types=[job_class.task_type],
        kinds=[job_class.__name__],
    )


def test_no_more_start_than_there_are_places(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(2))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(5)])
    assert take(connection, me, 10, task_types=["send"], kinds=["SendJob"]) == []
    first = start(connection, me, send)
    assert numbers(first) == [0, 1]
    assert (running(rows), parked(rows)) == (2, 3)
    end(connection, me, first[0])
    assert numbers(start(connection, me, send)) == [2]


def finished(connection: Connection, me: UUID, claim: Claim) -> None:
    end(connection, me, claim)


def failed(connection: Connection, me: UUID, claim: Claim) -> None:
    end(connection, me, claim, verdict=Verdict(Ending.FAILED))


def retried(connection: Connection, me: UUID, claim: Claim) -> None:
    end(connection, me, claim, verdict=Verdict(Ending.RETRIED, 600))


def snoozed(connection: Connection, me: UUID, claim: Claim) -> None:
    end(connection, me, claim, verdict=Verdict(Ending.SNOOZED, 600))


def deleted_in_psql(connection: Connection, me: UUID, claim: Claim) -> None:
    connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": claim.id})


def failed_in_psql(connection: Connection, me: UUID, claim: Claim) -> None:
    connection.execute(text("UPDATE fang_tasks SET state = 'failed' WHERE id = :id"), {"id": claim.id})


@pytest.mark.parametrize(
    "ending",
    [finished, failed, retried, snoozed, deleted_in_psql, failed_in_psql],
    ids=lambda one: one.__name__,
)
def test_a_place_is_free_when_its_task_has_left_in_progress(
    ending: Callable[..., None],
    engine: Engine,
    *,
    connection: Connection,
    rows: Rows,
    define: Define,
    me: UUID,
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(2)])
    (claim,) = start(connection, me, send)
    connection.exec_driver_sql("LISTEN spoils_limits")
    ending(connection, me, claim)
    assert heard(connection, 1) == ["SendJob"]
    assert places(rows) == 0
    assert numbers(start(connection, me, send)) == [1]


def test_a_released_task_is_the_next_one_again(
    engine: Engine, connection: Connection, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(3)])
    (claim,) = start(connection, me, send)
    assert release(connection, worker_id=me, tokens=[claim.token])
    assert numbers(start(connection, me, send)) == [0]


def test_a_rescued_task_is_the_next_one_again(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(3)])
    dead = rows.worker()
    start(connection, dead, send)
    ((beat,),) = rows.all("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=dead)
    assert start(connection, me, send) == []
    assert rescue(connection, worker_id=dead, beat=beat).tasks == 1
    assert numbers(start(connection, me, send)) == [0]
    assert look(connection, dead, send).claims == []  # its row has ended


def test_of_a_key_the_highest_priority_starts_first_then_the_oldest_that_is_due(
    engine: Engine, connection: Connection, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    later = datetime.now(UTC) + timedelta(hours=1)
    orders = [
        Order(send(number=3)), Order(send(number=4)), Order(send(number=5), priority=-2),
        Order(send(number=1), priority=2), Order(send(number=2), priority=1),
        Order(send(number=9), at=later, priority=2),
    ]  # fmt: skip
    for order in orders:
        enqueue(connection, order.job, at=order.at, priority=order.priority)
    began = []
    while claims := start(connection, me, send):
        began += numbers(claims)
        end(connection, me, *claims)
    assert began == [1, 2, 3, 4, 5]


def test_of_a_rate_so_many_start_and_the_next_one_when_the_first_is_a_window_ago(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Rate(3, per=60))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(6)])
    claims = start(connection, me, send)
    assert numbers(claims) == [0, 1, 2]
    end(connection, me, *claims)
    found = look(connection, me, send)
    assert found.claims == []
    assert 50 < found.again_in["SendJob per 60 s"] <= 60
    rows.connection.execute(
        text(
            "UPDATE spoils_limit_places SET free_at = now() WHERE id = (SELECT min(id) FROM spoils_limit_places)"
        )
    )
    assert numbers(start(connection, me, send)) == [3]
    drop_stale_places(connection)
    assert places(rows) == 3


def test_each_value_of_a_field_has_places_of_its_own(
    engine: Engine, connection: Connection, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1, by="user"), Rate(2, per=60, by=("user", "number")))
    published(engine, send)
    enqueue_many(connection, [send(user=user, number=1) for user in ("ann", "bob", "ann", "cyd", "bob")])
    users = Counter(json.loads(one.metadata)["user"] for one in start(connection, me, send))
    assert users == {"ann": 1, "bob": 1, "cyd": 1}


def test_many_keys_are_served_in_turn(
    engine: Engine, connection: Connection, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(2, by="user"))
    published(engine, send)
    users = [f"user{number}" for number in range(50)]
    enqueue_many(connection, [send(user=user) for user in users for _ in range(4)])
    served: Counter[str] = Counter()
    reached = ""
    for round_ in range(1, 5):
        for _ in range(25):
            found = look(connection, me, send, limit=2, after=reached)
            reached = found.reached
            served.update(json.loads(one.metadata)["user"] for one in found.claims)
            end(connection, me, *found.claims)
        assert served == dict.fromkeys(users, round_)


def test_a_task_with_several_limits_waits_for_the_one_that_is_full_and_keeps_no_other_waiting(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(2, name="gpu"), Concurrency(1, by="user"))
    published(engine, send)
    enqueue_many(connection, [send(user="ann", number=number) for number in range(4)])
    enqueue_many(connection, [send(user="bob", number=9)])
    claims = start(connection, me, send)
    assert sorted(numbers(claims)) == [0, 9]
    assert rows.all("SELECT key FROM spoils_parked ORDER BY 1") != []
    by_number = dict(zip(numbers(claims), claims, strict=True))
    end(connection, me, by_number[9])
    assert start(connection, me, send) == []  # a place of the first limit is free, but ann has none
    end(connection, me, by_number[0])
    assert numbers(start(connection, me, send)) == [1]


def test_classes_share_a_limit_by_its_name(
    engine: Engine, connection: Connection, define: Define, me: UUID
) -> None:
    train = define("TrainJob", Concurrency(2, name="gpu"))
    infer = define("InferJob", Concurrency(2, name="gpu"))
    published(engine, train, infer)
    for number in range(2):
        enqueue(connection, train(number=number))
        enqueue(connection, infer(number=number + 10))
    assert len(start(connection, me, infer)) == 2
    assert start(connection, me, train) == []


def test_eight_workers_never_have_more_at_once(
    engine: Engine, connection: Connection, rows: Rows, define: Define
) -> None:
    send = define("SendJob", Concurrency(3))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(300)])
    workers = [rows.worker() for _ in range(8)]

    def work(worker_id: UUID) -> list[int]:
        at_once = []
        with engine.connect() as own:
            while parked(Rows(own)):
                if claims := look(own, worker_id, send, limit=5).claims:
                    at_once.append(running(Rows(own)))
                    end(own, worker_id, *claims)
        return at_once

    with ThreadPoolExecutor(8) as pool:
        seen = [number for found in pool.map(work, workers) for number in found]
    assert max(seen) == 3
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'finished'") == 300


def test_a_changed_number_counts_at_once(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(5)])
    start(connection, me, send)
    connection.exec_driver_sql("LISTEN spoils_limits")
    send.limits = (Concurrency(3),)
    published(engine, send)
    assert heard(connection, 1) == [""]  # workers look at all keys
    assert numbers(start(connection, me, send)) == [1, 2]
    send.limits = (Concurrency(1),)
    published(engine, send)
    assert start(connection, me, send) == []


def test_a_removed_limit_frees_what_is_parked(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(4)])
    enqueue(connection, send(number=9), priority=2)
    late = rows.task(
        task_type="send", metadata={"type": "SendJob", "number": 8}, priority=-5
    )  # as one of the release before
    ended = rows.task(
        state="finished", task_type="send", metadata={"type": "SendJob", "number": 6}, priority=-5
    )
    send.limits = ()
    published(engine, send)
    claims = take(connection, me, 10, task_types=["send"], kinds=["SendJob"])
    assert numbers(claims) == [9, 0, 1, 2, 3, 8]
    assert (parked(rows), rows.one(late).priority, rows.one(ended).priority) == (0, 0, -5)
    # What an enqueuer of that release still puts in has no limit.
    rows.task(task_type="send", metadata={"type": "SendJob", "number": 7}, priority=-5)
    assert numbers(start(connection, me, send)) == [7]


def test_a_new_limit_counts_what_waits_and_what_runs(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob")
    enqueue_many(connection, [send(number=number) for number in range(4)])
    claims = take(connection, me, 2, task_types=["send"], kinds=["SendJob"])
    known = rows.task(task_type="send", metadata={"type": "SendJob"}, priority=-5)  # who enqueued it knew
    send.limits = (Concurrency(2),)
    published(engine, send)
    assert rows.one(known).priority == -5
    assert start(connection, me, send) == []
    end(connection, me, *claims)
    assert numbers(start(connection, me, send)) == [2, 3]


def test_a_limit_by_another_field_parks_the_waiting_tasks_anew(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1, by="number"))
    published(engine, send)
    enqueue_many(connection, [send(user="ann", number=number) for number in range(3)])
    send.limits = (Concurrency(1, by="user"),)
    published(engine, send)
    assert len(start(connection, me, send)) == 1
    assert rows.all("SELECT DISTINCT key FROM spoils_parked") == [("SendJob.user=ann",)]


def test_what_was_enqueued_without_its_limits_comes_under_them(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    connection.execute(
        text("SELECT spoils_enqueue('SendJob', '{}', priority => 1) FROM generate_series(1, 2)")
    )
    claims = take(connection, me, 10, task_types=["send"], kinds=["SendJob"])
    for claim in claims:
        put_under_limits(connection, claim.token, worker_id=me)
    end(connection, me, *claims, verdict=Verdict(Ending.RELEASED))
    assert rows.all("SELECT DISTINCT priority FROM fang_tasks") == [(-4,)]
    assert len(start(connection, me, send)) == 1


def test_a_priority_that_is_set_in_psql_does_not_evade_a_limit_for_good(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(3)])
    connection.execute(text("UPDATE fang_tasks SET priority = 2 WHERE metadata ->> 'number' = '2'"))
    assert parked(rows) == 2
    (claim,) = take(connection, me, 10, task_types=["send"], kinds=["SendJob"])
    put_under_limits(connection, claim.token, worker_id=me)
    end(connection, me, claim, verdict=Verdict(Ending.RELEASED))
    assert numbers(start(connection, me, send)) == [2]


def test_a_claim_of_other_tasks_reads_none_that_are_parked(
    engine: Engine, rows: Rows, define: Define, me: UUID, thorough: bool
) -> None:
    send = define("SendJob", Concurrency(1), task_type="sample", endpoint="send")
    published(engine, send)
    start(rows.connection, me, send)
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, priority) "
            "SELECT '{\"type\": \"SendJob\"}', 'sample', -5 FROM generate_series(1, :number)"
        ),
        {"number": 100_000 if thorough else 5000},
    )
    rows.task()
    read = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'fang_tasks'"
    with transaction(engine) as own:
        assert len(take(own, me, 10)) == 1
        assert own.execute(text(read)).scalar_one() < 20
    start(rows.connection, me, send)
    enqueue(rows.connection, send(user="ann"))
    with transaction(engine) as own:
        assert look(own, me, send).claims == []
        assert (own.execute(text(read)).scalar_one() or 0) < 20


@pytest.mark.parametrize("action", ["run_now", "retry", "restore"])
def test_an_action_makes_a_task_wait_for_its_limit(
    action: str, engine: Engine, *, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    later = datetime.now(UTC) + timedelta(hours=1)
    other_id = enqueue(connection, send(number=1)).id
    start(connection, me, send)
    task_id = enqueue(connection, send(number=2), at=later if action == "run_now" else None).id
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as own:
        if before := {"retry": "cancel", "restore": "delete"}.get(action):
            assert act(own, before, task_id, who="admin").done
            assert parked(Rows(own)) == 0
        assert act(own, action, task_id, who="admin").done
    assert parked(rows) == 1
    assert start(connection, me, send) == []
    connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": other_id})
    assert numbers(start(connection, me, send)) == [2]


def test_a_hold_keeps_a_key_or_a_type_until_its_end(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send, plain = define("SendJob", Concurrency(1, by="user"), Concurrency(9)), define("PlainJob")
    published(engine, send, plain)
    enqueue_many(connection, [send(user="ann"), send(user="ann"), send(user="bob"), plain()])
    claims = [
        *look(connection, me, send, limit=1).claims,
        *take(connection, me, task_types=["plain"], kinds=["PlainJob"]),
    ]
    connection.exec_driver_sql("LISTEN spoils_holds")
    end(connection, me, *claims, verdict=Verdict(Ending.RETRIED, 0, hold_seconds=30))
    (note,) = heard(connection, 1)
    seconds, _, name = note.partition(" ")
    assert (name, 29 < float(seconds) <= 30) == ("plain", True)
    assert heartbeat_of(connection, me, plain).paused == {"plain"}
    assert held_until(connection, HoldKind.KEY, "SendJob.user=ann")
    assert held_until(connection, HoldKind.KEY, "SendJob.user=bob") is None
    found = look(connection, me, send)
    assert [json.loads(one.metadata)["user"] for one in found.claims] == ["bob"]
    assert 29 < found.again_in["SendJob.user=ann"] <= 30
    end(connection, me, *found.claims)
    connection.execute(text("UPDATE spoils_holds SET until = now()"))
    assert held_until(connection, HoldKind.KEY, "SendJob.user=ann") is None
    drop_past_holds(connection)
    assert heartbeat_of(connection, me, plain).paused == frozenset()
    assert len(start(connection, me, send)) == 1


def test_a_heartbeat_says_whether_any_waits_and_when_one_falls_due(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    assert not heartbeat_of(connection, me, send).limited
    enqueue(connection, send(), at=datetime.now(UTC) + timedelta(seconds=2))
    found = heartbeat_of(connection, me, send)
    assert found.limited
    assert 0 < (found.next_due_seconds or 0) <= 2
    assert due_keys(connection) == []
    connection.execute(text("UPDATE fang_tasks SET scheduled_at = now()"))
    assert due_keys(connection) == ["SendJob"]


def test_a_suspect_waits_for_its_limit_and_is_claimed_alone(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(2)])
    (claim,) = start(connection, me, send)
    connection.execute(text("UPDATE fang_tasks SET crashes = 2 WHERE state = 'new'"))
    assert not heartbeat_of(connection, me, send).suspect_due
    end(connection, me, claim)
    assert heartbeat_of(connection, me, send).suspect_due
    assert start(connection, me, send) == []
    assert numbers(look(connection, me, send, isolated=True).claims) == [1]


def test_what_no_worker_has_known_for_a_day_fails_under_limits_too(
    engine: Engine, connection: Connection, rows: Rows, define: Define
) -> None:
    worker_id = rows.worker(job_classes={"SampleJob": "1"}, started_ago=3600)
    send = define("SendJob", Concurrency(1))
    task_id = enqueue(connection, send()).id
    rows.connection.execute(text("UPDATE fang_tasks SET scheduled_at = now() - interval '2 days'"))
    assert fail_unknown(connection, worker_id=worker_id, task_types=["send"]) == 1
    assert (rows.one(task_id).state, parked(rows)) == ("failed", 0)


def test_what_the_triggers_did_not_see_is_made_right(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(2)])
    start(connection, me, send)
    connection.execute(text("TRUNCATE fang_tasks"))
    with transaction(engine) as own:
        own.exec_driver_sql("ALTER TABLE fang_tasks DISABLE TRIGGER spoils_limited_inserted")
        enqueue(own, send(number=7))
        own.exec_driver_sql("ALTER TABLE fang_tasks ENABLE TRIGGER spoils_limited_inserted")
    assert start(connection, me, send) == []
    repair(connection, task_types=["send"])
    assert numbers(start(connection, me, send)) == [7]


def test_a_repair_parks_what_waits_and_drops_the_rest(
    engine: Engine, connection: Connection, rows: Rows, define: Define, me: UUID
) -> None:
    send = define("SendJob", Concurrency(1))
    published(engine, send)
    enqueue_many(connection, [send(number=number) for number in range(3)])
    start(connection, me, send)
    with transaction(engine) as own:
        own.exec_driver_sql("ALTER TABLE fang_tasks DISABLE TRIGGER USER")
        own.exec_driver_sql("UPDATE fang_tasks SET state = 'finished' WHERE state = 'in_progress'")
        own.exec_driver_sql("DELETE FROM fang_tasks WHERE metadata ->> 'number' = '1'")
        enqueue(own, send(number=9))
        own.exec_driver_sql("ALTER TABLE fang_tasks ENABLE TRIGGER USER")
    assert (places(rows), parked(rows)) == (1, 2)
    repair(connection, task_types=["send"])
    assert (places(rows), parked(rows)) == (0, 2)
    assert numbers(start(connection, me, send)) == [2]


@pytest.mark.parametrize(
    ("by", "values", "key"),
    [
        ("user", {"user": "ann"}, "SendJob.user=ann"),
        (("user", "number"), {"user": "a,b%", "number": 5}, "SendJob.user.number=a%2Cb%25,5"),
        ("user", {"user": "x" * 1000}, "SendJob.user=44f8354494a5ba03"),
        ("token", {"token": "s3cret"}, "SendJob.token="),
    ],
)
def test_a_key_is_the_limit_and_the_values_of_its_fields(
    by: Any,
    values: dict[str, Any],
    key: str,
    *,
    engine: Engine,
    connection: Connection,
    rows: Rows,
    define: Define,
) -> None:
    annotations = {"number": int, "user": str, "token": str}
    send = define("SendJob", Concurrency(1, by=by), __annotations__=annotations, token="")
    published(engine, send)
    enqueue(connection, send(**values))
    ((found,),) = rows.all("SELECT key FROM spoils_parked")
    assert found.startswith(key)
    assert "s3cret" not in found
