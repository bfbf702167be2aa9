"""Rescuing the workers that presence found dead."""

import logging
import threading

import pytest
from sqlalchemy import Engine

from spoils.queue.presence import Neighbour
from spoils.worker.rescuer import IDLE_SECONDS, Rescuer
from tests.queue.hands import take
from tests.rows import Rows


@pytest.mark.parametrize(("tasks", "level"), [(0, logging.INFO), (1, logging.WARNING)])
def test_a_rescue_is_a_warning_where_it_gave_tasks_back(
    engine: Engine, rows: Rows, caplog: pytest.LogCaptureFixture, tasks: int, level: int
) -> None:
    caplog.set_level(logging.INFO)
    dead = rows.worker(silent_for=60)
    for _ in range(tasks):
        rows.task()
    take(rows.connection, dead)
    beat = str(rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=dead))
    rescuer = Rescuer(engine=engine, turn=threading.Lock())
    rescuer.found_dead([Neighbour(dead, beat, holds_lock=False)])
    assert rescuer.tick() == IDLE_SECONDS
    (record,) = caplog.records
    assert (record.getMessage(), record.levelno) == (f"Rescued {tasks} tasks of a dead worker", level)
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'new'") == tasks
