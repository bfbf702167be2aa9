"""Pruning: what is older than its retention goes, in small batches, and nothing else."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.models import ACTIVE, TaskState
from spoils.queue import prune
from tests.locks import held
from tests.rows import Rows

DAY = 24 * 3600.0


def aged(rows: Rows, days: float, **columns: Any) -> UUID:
    task_id = rows.task(**columns)
    rows.connection.execute(
        text("UPDATE fang_tasks SET updated_at = now() - make_interval(secs => :age) WHERE id = :id"),
        {"age": days * DAY, "id": task_id},
    )
    return task_id


def left(rows: Rows) -> set[UUID]:
    return {task_id for (task_id,) in rows.all("SELECT id FROM fang_tasks")}


@pytest.mark.parametrize("state", [TaskState.FINISHED, TaskState.FAILED])
def test_only_tasks_that_stand_in_that_state_longer_than_the_retention_go(
    connection: Connection, rows: Rows, state: TaskState
) -> None:
    old = aged(rows, 7.01, state=state.value)
    kept = {aged(rows, 6.99, state=state.value)}
    kept |= {aged(rows, 100, state=other.value) for other in TaskState if other is not state}
    assert prune.prune_tasks(connection, state, days=7) == 1
    assert left(rows) == kept
    assert old not in kept
    assert prune.prune_tasks(connection, state, days=7) == 0


def test_what_is_active_is_never_pruned(connection: Connection) -> None:
    for state in ACTIVE:
        with pytest.raises(ValueError, match="Only ended tasks"):
            prune.prune_tasks(connection, state, days=7)


def test_a_batch_is_bounded_and_takes_the_oldest_first(connection: Connection, rows: Rows) -> None:
    by_age = [aged(rows, days, state="finished") for days in (10, 11, 12, 13, 14)]
    # Older ones in another state take nobody's place in it.
    others = {aged(rows, days, state="failed") for days in (20, 30, 40)}
    assert prune.prune_tasks(connection, TaskState.FINISHED, days=7, batch=2) == 2
    assert left(rows) == set(by_age[:3]) | others
    assert prune.prune_tasks(connection, TaskState.FINISHED, days=7, batch=2) == 2
    assert prune.prune_tasks(connection, TaskState.FINISHED, days=7, batch=2) == 1


def test_a_row_that_somebody_changes_just_now_is_passed_over(engine: Engine, rows: Rows) -> None:
    busy, free = aged(rows, 20, state="failed"), aged(rows, 10, state="failed")
    with held(engine) as retrying:
        retrying.execute(text("UPDATE fang_tasks SET state = 'new' WHERE id = :id"), {"id": busy})
        rows.connection.execute(text("SET lock_timeout = '5s'"))
        assert prune.prune_tasks(rows.connection, TaskState.FAILED, days=7) == 1
        rows.connection.execute(text("RESET lock_timeout"))
        retrying.commit()
    assert left(rows) == {busy}
    assert free != busy


def test_attempts_go_when_they_are_old_and_their_task_is_gone(connection: Connection, rows: Rows) -> None:
    task_id = rows.task()
    for owner, days in ((task_id, 100), (UUID(int=1), 100), (UUID(int=2), 1)):
        rows.attempt(owner, ago=days * DAY)
    assert prune.prune_attempts(connection, days=7) == 1
    assert {one for (one,) in rows.all("SELECT task_id FROM spoils_attempts")} == {task_id, UUID(int=2)}


RECORDS = {
    "audit": ("at", "(who, verb, done, at) SELECT 'a', 'retry', true"),
    "trash": ("deleted_at", "(task_id, task, deleted_at) SELECT gen_random_uuid(), '{}'"),
    "bulks": (
        "created_at",
        "(verb, who, selection, expected, id, created_at) SELECT '', '', '{}', 1, gen_random_uuid()",
    ),
    "alerts": ("seen_at", "(key, sentence, seen_at) SELECT d::text, ''"),
    "quarters": (
        "quarter",
        "(task_type, outcome, count, ran_ms, buckets, counts, quarter) SELECT 'sample', 'failed', 1, 1, '{1}', '{1}'",
    ),
    "idempotency_keys": ("created_at", "(key, request, created_at) SELECT d::text, repeat('0', 64)"),
    "logouts": ("at", "(login, at) SELECT gen_random_uuid()"),
    "minutes": (
        "minute",
        "(task_type, outcome, bucket, count, ran_ms, minute) SELECT 'sample', 'finished', 1, 1, 1",
    ),
    "ticks": ("slot", "(schedule_id, outcome, slot) SELECT 1, 'entered'"),
    "workers": (
        "ended_at",
        "(id, host, pid, release, task_types, threads, ended_at) SELECT gen_random_uuid(), '', 1, '', '{}', 5",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "act"),
    [
        ("audit", prune.prune_audit),
        ("trash", prune.prune_trash),
        ("bulks", prune.prune_bulks),
        ("alerts", prune.prune_alerts),
        ("quarters", prune.prune_quarters),
        ("idempotency_keys", prune.prune_keys),
        ("logouts", prune.prune_logouts),
        ("minutes", prune.prune_minutes),
        ("ticks", prune.prune_ticks),
        ("workers", prune.prune_workers),
    ],
)
def test_records_go_by_their_age_in_bounded_batches(
    connection: Connection, rows: Rows, table: str, act: Callable[..., int]
) -> None:
    moment, put = RECORDS[table]
    if table == "ticks":
        schedule = "(id, job, cron, zone, task_type) VALUES (1, 'j', 'c', 'z', 't')"
        connection.execute(text(f"INSERT INTO spoils_schedules {schedule}"))
    alive = rows.worker(silent_for=99 * DAY)
    connection.execute(
        text(
            f"INSERT INTO spoils_{table} {put}, now() - make_interval(days => d) "
            "FROM unnest(ARRAY[1, 29, 31, 40, 99]) AS d"
        )
    )
    if table == "bulks":
        assert act(connection, days=30) == 0, "what has not ended is kept"
        connection.execute(text("UPDATE spoils_bulks SET ended_at = now()"))
    assert [act(connection, days=30, batch=2) for _ in range(3)] == [2, 1, 0]
    assert rows.value(f"SELECT count(*) FROM spoils_{table} WHERE {moment} > now() - interval '30 days'") == 2
    assert rows.value(f"SELECT count(*) FROM spoils_{table} WHERE {moment} IS NOT NULL") == 2
    assert rows.value("SELECT count(*) FROM spoils_workers WHERE id = :id", id=alive) == 1


def test_each_class_has_its_own_retention_and_the_others_the_default(
    connection: Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "SLICE", 3)
    short, long = {"type": "ShortJob"}, {"type": "LongJob"}
    gone = {aged(rows, 0.3, state="finished", metadata=short) for _ in range(4)}
    gone |= {aged(rows, 8, state="finished"), aged(rows, 31, state="finished", metadata=long)}
    kept = {
        aged(rows, 0.2, state="finished", metadata=short),
        aged(rows, 29, state="finished", metadata=long),
    }
    kept |= {aged(rows, 6, state="finished"), aged(rows, 40, state="failed", metadata=short)}
    own = {"ShortJob": timedelta(hours=6), "LongJob": timedelta(days=30)}
    assert sum(prune.prune_by_class(connection, TaskState.FINISHED, days=7, own=own)) == len(gone)
    assert left(rows) == kept


def test_without_a_default_only_the_classes_that_say_so_lose_jobs(connection: Connection, rows: Rows) -> None:
    other = aged(rows, 100, state="failed")
    aged(rows, 100, state="failed", metadata={"type": "ShortJob"})
    own = {"ShortJob": timedelta(hours=6)}
    assert sum(prune.prune_by_class(connection, TaskState.FAILED, days=None, own=own)) == 1
    assert left(rows) == {other}


def test_outputs_go_with_the_task_and_the_row_of_their_attempt(connection: Connection, rows: Rows) -> None:
    there, gone, recorded = rows.task(), rows.task(), rows.task()
    rows.attempt(recorded, 1, "failed")
    for task_id in (there, gone, recorded):
        rows.all(
            "INSERT INTO spoils_outputs VALUES (:id, 1, 1, 1, NULL, '[]', now()) RETURNING 1", id=task_id
        )
    rows.connection.execute(
        text("DELETE FROM fang_tasks WHERE id IN (:gone, :recorded)"), {"gone": gone, "recorded": recorded}
    )
    assert prune.prune_outputs(connection) == 1
    assert {task_id for (task_id,) in rows.all("SELECT task_id FROM spoils_outputs")} == {there, recorded}
