"""The rescuer rescues who is named, and comes back for what was locked."""

import logging
import threading
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from spoils.queue.worker_rows import OtherWorker
from spoils.worker.rescuer import IDLE_SECONDS, REST_SECONDS, Rescuer
from tests.locks import held
from tests.queue.hands import take
from tests.rows import Rows


@pytest.fixture
def rescuer(engine: Engine) -> Rescuer:
    return Rescuer(engine=engine, turn=threading.Lock())


def other_worker(rows: Rows, worker_id: UUID) -> OtherWorker:
    beat = rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=worker_id)
    return OtherWorker(worker_id, beat, holds_lock=False)


def test_a_locked_task_is_given_back_within_a_second_of_its_coming_free(
    rescuer: Rescuer, engine: Engine, connection: Connection, rows: Rows
) -> None:
    dead = rows.worker()
    locked, free = rows.task(), rows.task()
    take(connection, dead, 2)
    with held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": locked})
        rescuer.found_dead([other_worker(rows, dead)])
        for _ in range(2):
            assert rescuer.tick() == REST_SECONDS <= 1
            assert (rows.state(locked), rows.state(free)) == ("in_progress", "new")
    assert rescuer.tick() == IDLE_SECONDS
    assert rows.state(locked) == "new"


def test_a_worker_whose_row_is_locked_is_rescued_when_the_heartbeat_names_it_again(
    rescuer: Rescuer, engine: Engine, connection: Connection, rows: Rows
) -> None:
    dead = rows.worker()
    task_id = rows.task()
    take(connection, dead)
    with held(engine) as other:
        other.execute(text("SELECT FROM spoils_workers FOR UPDATE"))
        rescuer.found_dead([other_worker(rows, dead)])
        assert rescuer.tick() == IDLE_SECONDS
    assert rows.state(task_id) == "in_progress"
    rescuer.found_dead([other_worker(rows, dead)])
    rescuer.tick()
    assert rows.state(task_id) == "new"


def test_an_error_after_a_worker_s_row_has_ended_does_not_leave_its_tasks(
    rescuer: Rescuer, engine: Engine, connection: Connection, rows: Rows
) -> None:
    dead, other = rows.worker(), rows.worker()
    ids = [rows.task() for _ in range(2)]
    for worker_id in (dead, other):
        take(connection, worker_id)

    def break_down(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "spoils_attempts" in statement:
            raise ConnectionResetError("the connection is gone")

    event.listen(engine, "before_cursor_execute", break_down)
    rescuer.found_dead([other_worker(rows, worker_id) for worker_id in (dead, other)])
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            rescuer.tick()
    event.remove(engine, "before_cursor_execute", break_down)
    assert rescuer.tick() == IDLE_SECONDS
    assert [rows.state(task_id) for task_id in ids] == ["new", "new"]
    assert rows.value("SELECT count(*) FROM spoils_workers WHERE ended_how = 'killed'") == 2


@pytest.mark.parametrize(("tasks", "level"), [(0, logging.INFO), (1, logging.WARNING)])
def test_a_rescue_is_a_warning_where_it_gave_tasks_back(
    rescuer: Rescuer, rows: Rows, caplog: pytest.LogCaptureFixture, tasks: int, level: int
) -> None:
    caplog.set_level(logging.INFO)
    dead = rows.worker(silent_for=60)
    for _ in range(tasks):
        rows.task()
    take(rows.connection, dead)
    beat = str(rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=dead))
    rescuer.found_dead([OtherWorker(dead, beat, holds_lock=False)])
    assert rescuer.tick() == IDLE_SECONDS
    (record,) = caplog.records
    assert (record.getMessage(), record.levelno) == (f"Rescued {tasks} jobs of a dead worker", level)
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'new'") == tasks


def test_a_dead_worker_whose_task_the_table_refuses_keeps_no_other_from_its_rescue(
    rescuer: Rescuer, connection: Connection, rows: Rows
) -> None:
    cursed, other = rows.worker(), rows.worker()
    refused, free = rows.task(), rows.task()
    for worker_id in (cursed, other):
        take(connection, worker_id)
    connection.execute(
        text(
            f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.id = '{refused}' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE UPDATE ON fang_tasks FOR EACH ROW EXECUTE FUNCTION refuse();
            """
        )
    )
    try:
        rescuer.found_dead([other_worker(rows, cursed)])
        with pytest.raises(DBAPIError):
            rescuer.tick()
        rescuer.found_dead([other_worker(rows, other)])
        with pytest.raises(DBAPIError):
            rescuer.tick()
        assert (rows.state(refused), rows.state(free)) == ("in_progress", "new")
    finally:
        connection.execute(text("DROP FUNCTION refuse CASCADE"))
