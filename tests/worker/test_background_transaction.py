"""Housework waits for no lock for long, since outcomes are written by the same connection."""

import threading

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from spoils.worker.background_transaction import background_transaction
from tests.locks import held
from tests.rows import Rows


def test_it_does_not_wait_for_a_locked_row(engine: Engine, rows: Rows) -> None:
    task_id = rows.task()
    turn = threading.Lock()
    with held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks FOR UPDATE"))
        with (
            pytest.raises(DBAPIError, match="lock timeout"),
            background_transaction(engine, turn) as connection,
        ):
            connection.execute(text("UPDATE fang_tasks SET retries = 7"))
    assert not turn.locked()
    with background_transaction(engine, turn) as connection:
        connection.execute(text("UPDATE fang_tasks SET retries = 7"))
    assert rows.one(task_id).retries == 7


def test_what_it_sets_ends_with_its_transaction(engine: Engine) -> None:
    with background_transaction(engine, threading.Lock()) as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) == pid
        assert connection.scalar(text("SHOW lock_timeout")) == "0"
