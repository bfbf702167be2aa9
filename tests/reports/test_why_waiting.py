"""Why a task does not run: each thing that can hold it, and how far it counts."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from spoils.job import Job, Queue
from spoils.models import PauseKind, Task
from spoils.queue import pauses
from spoils.reports import why_waiting
from tests.classes import throw_away_classes
from tests.rows import Rows


@pytest.fixture
def ask(engine: Engine, rows: Rows) -> Any:
    def find(task_id: UUID) -> list[tuple[str, bool]]:
        with Session(engine) as session:
            task = session.get(Task, task_id)
            assert task is not None
            return [(one.kind, one.holds) for one in why_waiting.find(session, task)]

    return find


def facts(engine: Engine, task_id: UUID, kind: str) -> dict[str, Any]:
    with Session(engine) as session:
        task = session.get(Task, task_id)
        assert task is not None
        return next(one.facts for one in why_waiting.find(session, task) if one.kind == kind)


def test_what_does_not_wait_says_only_so(ask: Any, rows: Rows) -> None:
    assert ask(rows.task(state="in_progress")) == []
    for state in ("failed", "finished"):
        assert ask(rows.task(state=state)) == [("ended", True)]


def test_its_time_and_its_worker_are_told_apart(ask: Any, rows: Rows) -> None:
    task_id = rows.task(due_in=60)
    assert ask(task_id) == [("not_due", True), ("no_worker", True)]
    worker_id = rows.worker()
    assert ask(task_id) == [("not_due", True), ("taken", False)]
    rows.connection.execute(text("UPDATE spoils_workers SET draining = true"))
    assert ask(rows.task()) == [("no_taker", True), ("due", False)]
    rows.connection.execute(text("UPDATE spoils_workers SET draining = false, task_types = '{other}'"))
    assert ask(rows.task()) == [("no_taker", True), ("due", False)]
    assert worker_id


def test_a_job_that_has_not_started_says_when_it_expires(engine: Engine, ask: Any, rows: Rows) -> None:
    with throw_away_classes():

        class ExpiringJob(Job):
            expires = timedelta(minutes=1)

            def run(self, queue: Queue) -> None: ...

        task_id = rows.task(metadata={"type": "ExpiringJob"})
        assert ("expires", False) in ask(task_id)
        expected = rows.one(task_id).scheduled_at + timedelta(minutes=1)
        assert facts(engine, task_id, "expires") == {"at": expected}
        assert "expires" not in dict(ask(rows.task(metadata={"type": "ExpiringJob"}, state="retried")))
        never = rows.task(metadata={"type": "ExpiringJob"})
        rows.connection.execute(text("UPDATE fang_tasks SET scheduled_at = '9999-12-31 23:59:59.9Z'"))
        assert "expires" not in dict(ask(never))


def test_a_task_of_a_class_that_no_worker_of_its_type_knows_waits_for_one_that_does(
    engine: Engine, ask: Any, rows: Rows
) -> None:
    task_id = rows.task(metadata={"type": "ChargeCard"})
    rows.worker(job_classes={"SampleJob": "1"})
    assert ask(task_id) == [("unknown_class", True), ("due", False), ("taken", False)]
    assert facts(engine, task_id, "unknown_class") == {"job": "ChargeCard"}
    for metadata in ({"type": "SampleJob"}, {}, [], {"type": None}, {"type": 5}):
        assert "unknown_class" not in dict(ask(rows.task(metadata=metadata)))
    rows.worker(job_classes={"ChargeCard": "1"}, ended=True)
    elsewhere = rows.worker(job_classes={"ChargeCard": "1"})
    rows.connection.execute(
        text("UPDATE spoils_workers SET task_types = '{other}' WHERE id = :id"), {"id": elsewhere}
    )
    assert dict(ask(task_id))["unknown_class"] is True
    rows.worker()  # of a release that publishes no classes
    assert "unknown_class" not in dict(ask(task_id))


def test_a_pause_of_its_type_holds_it(engine: Engine, ask: Any, rows: Rows) -> None:
    task_id = rows.task()
    pauses.pause(rows.connection, PauseKind.TASK_TYPE, "other", by="admin")
    assert "paused" not in dict(ask(task_id))
    pauses.pause(rows.connection, PauseKind.TASK_TYPE, "sample", by="admin")
    assert dict(ask(task_id))["paused"] is True
    assert facts(engine, task_id, "paused")["paused_by"] == "admin"


def test_a_retry_tells_of_the_attempt_before_it(engine: Engine, rows: Rows) -> None:
    task_id = rows.task(state="retried", due_in=60, retries=1)
    rows.attempt(task_id, 3, "timed_out", delay_ms=60_000)
    told = facts(engine, task_id, "not_due")
    assert (told["attempt"], told["outcome"], told["delay_ms"]) == (3, "timed_out", 60_000)


def test_a_suspect_waits_to_be_alone(ask: Any, rows: Rows) -> None:
    rows.worker()
    assert ("suspect", True) in ask(rows.task(crashes=2))
    assert ("suspect", True) not in ask(rows.task(crashes=1))


def test_beside_rust_workers_a_twin_that_runs_is_named(engine: Engine, rows: Rows) -> None:
    rows.worker()
    rows.connection.execute(text("DROP INDEX fang_tasks_active_hash_idx"))
    try:
        running = rows.task(state="in_progress", uniq_hash="a" * 64)
        waiting = rows.task(uniq_hash="a" * 64)
        assert facts(engine, waiting, "twin_runs") == {"task_id": running}
    finally:
        rows.connection.execute(text("DELETE FROM fang_tasks"))
        rows.connection.execute(
            text(
                "CREATE UNIQUE INDEX fang_tasks_active_hash_idx ON fang_tasks (uniq_hash) "
                "WHERE state IN ('new', 'retried', 'in_progress')"
            )
        )


def test_the_next_one_is_told_so_with_the_threads(engine: Engine, rows: Rows) -> None:
    rows.worker()
    rows.connection.execute(text("UPDATE spoils_workers SET running = 5"))
    task_id = rows.task()
    assert facts(engine, task_id, "next") == {"ahead": 0, "more": False, "threads": 5, "busy": 5}


def test_those_ahead_are_counted_by_priority_then_time_and_only_so_far(engine: Engine, rows: Rows) -> None:
    rows.worker()
    task_id = rows.task(due_in=-10)
    for due_in, priority in ((-20, 0), (-1, 1), (-1, 2), (-5, 0), (60, 2), (-90, -1)):
        rows.task(due_in=due_in, priority=priority)
    rows.task(due_in=-90, task_type="other")
    # What has been done, or runs, is ahead of nobody.
    for state in ("in_progress", "finished", "failed"):
        rows.task(due_in=-500, state=state, priority=2)
    assert facts(engine, task_id, "ahead")["ahead"] == 3
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, scheduled_at) "
            "SELECT '{}', 'sample', now() - interval '1 hour' FROM generate_series(1, 1200)"
        )
    )
    told = facts(engine, task_id, "ahead")
    assert (told["ahead"], told["more"]) == (1_000, True)


@pytest.mark.parametrize("of_class", [True, False])
def test_a_task_of_a_tick_names_its_schedule(engine: Engine, ask: Any, rows: Rows, of_class: bool) -> None:
    task_id = rows.task()
    schedule_id = rows.value(
        "INSERT INTO spoils_schedules (job, name, runtime_job, cron, zone, task_type) "
        "VALUES (:job, :name, 'SampleJob', '* * * * *', 'UTC', 'sample') RETURNING id",
        job="SampleJob" if of_class else None,
        name=None if of_class else "nightly",
    )
    rows.connection.execute(
        text(
            "INSERT INTO spoils_ticks (schedule_id, slot, outcome, task_id) "
            "VALUES (:schedule, date_trunc('minute', now()), 'entered', :task)"
        ),
        {"schedule": schedule_id, "task": task_id},
    )
    assert ("scheduled", False) in ask(task_id)
    assert facts(engine, task_id, "scheduled")["schedule"] == ("SampleJob" if of_class else "nightly")
    assert "scheduled" not in dict(ask(rows.task()))


def limited(rows: Rows, number: int, **limit: Any) -> list[UUID]:
    """Tasks of a class with this limit; the first one runs, if one may run at once."""
    rows.worker()
    columns = {
        "job": "SampleJob",
        "label": "sample",
        "place": 0,
        "at_once": None,
        "rate": None,
        "per": None,
        **limit,
    }
    rows.connection.execute(
        text(
            "INSERT INTO spoils_limits (job, label, place, fields, hashed, at_once, rate, per, published_at) "
            "VALUES (:job, :label, :place, '{}', false, :at_once, :rate, :per, now())"
        ),
        columns,
    )
    first = rows.task(priority=-5, state="in_progress")
    return [first, *(rows.task(priority=-5) for _ in range(number))]


def test_a_full_limit_names_what_takes_its_places(engine: Engine, rows: Rows) -> None:
    first, second = limited(rows, 1, at_once=1)
    found = facts(engine, second, "limit")
    assert found == {"limit": "sample", "at_once": 1, "running": [first]}


def test_a_full_rate_says_when_the_next_one_may_start(engine: Engine, rows: Rows) -> None:
    _, second = limited(rows, 1, rate=1, per=60)
    found = facts(engine, second, "limit")
    free_at = rows.value("SELECT free_at FROM spoils_limit_places")
    assert found == {"limit": "sample", "rate": 1, "per": 60, "free_at": free_at}


def test_of_a_limit_with_room_it_counts_those_of_its_key_that_go_first(
    engine: Engine, ask: Any, rows: Rows
) -> None:
    _, second, third = limited(rows, 2, at_once=5)
    rows.task()
    assert ("limit", True) not in ask(third)
    assert facts(engine, second, "next")["ahead"] == 0
    assert facts(engine, third, "ahead")["ahead"] == 1


def test_a_hold_is_named_with_its_end(engine: Engine, rows: Rows) -> None:
    _, under_limit = limited(rows, 1, at_once=1)
    plain = rows.task(task_type="other")
    rows.connection.execute(
        text(
            "INSERT INTO spoils_holds VALUES ('key', 'sample', now() + interval '60 s'), "
            "('task_type', 'other', now() + interval '60 s'), ('task_type', 'sample', now() - interval '1 s')"
        )
    )
    until = rows.value("SELECT max(until) FROM spoils_holds")
    assert facts(engine, under_limit, "held") == {"name": "sample", "until": until}
    assert facts(engine, plain, "held") == {"name": "other", "until": until}
