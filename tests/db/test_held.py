"""A connection that a thread holds on to is nobody's loss: the pool has it as soon as somebody may need it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Integer, bindparam, cast, func, select, text
from sqlalchemy.exc import DBAPIError

from spoils.db import held
from spoils.db.compiled import Compiled
from spoils.db.engine import DIRECT, make_engine
from spoils.web.patient import PatientWorker
from tests.db.things import COUNT, PUT

WHO = Compiled(select(func.pg_backend_pid(), cast(bindparam("any"), Integer)), "who", anywhere=True)


@pytest.fixture
def pooled(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, connections=2, application_name="a test", pool_timeout=0.1)
    yield engine
    engine.dispose()


def out(engine: Engine) -> int:
    """How many of its connections are out of the pool."""
    pool: Any = engine.pool
    number: int = pool.checkedout()
    return number


def who(engine: Engine, *, hold: bool = True) -> int:
    [(pid, _)] = WHO.rows_alone(engine, {"any": 1}, hold=hold)
    return int(pid)


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    yield
    held.let_go()


def test_a_thread_keeps_its_connection_where_it_may_until_it_lets_go(pooled: Engine) -> None:
    first = who(pooled)
    assert out(pooled) == 1
    assert who(pooled) == first
    held.let_go()
    assert out(pooled) == 0
    who(pooled)
    assert who(pooled, hold=False) == first
    assert out(pooled) == 0


def test_what_it_has_done_with_it_is_done(pooled: Engine, connection: Connection) -> None:
    connection.execute(text("CREATE TABLE things (name text)"))
    PUT.rows_alone(pooled, {"name": "one"}, hold=True)
    assert out(pooled) == 1
    assert connection.scalar(COUNT) == 1


def test_it_gives_it_back_where_all_others_are_in_use(pooled: Engine) -> None:
    with pooled.connect():
        who(pooled)
        assert out(pooled) == 1
        with pooled.connect():
            pass


def test_it_is_held_for_one_thread_and_one_engine(database_url: str, pooled: Engine) -> None:
    other = make_engine(database_url, connections=2, application_name="another test")
    first = who(pooled)
    assert who(other) != first
    assert (out(pooled), out(other)) == (1, 0)
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(lambda: who(pooled, hold=False)).result() != first
    assert who(pooled) == first
    held.let_go()
    assert out(pooled) == 0
    other.dispose()


def test_one_that_broke_is_not_held(pooled: Engine, connection: Connection) -> None:
    first = who(pooled)
    connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
    with pytest.raises(DBAPIError):
        who(pooled)
    assert out(pooled) == 0
    assert who(pooled) != first


class Serving(PatientWorker):
    """A web process's thread that serves one request by a statement on `engine`."""

    alive = True

    def __init__(self, engine: Engine, error: Exception | None) -> None:
        self._engine = engine
        self._error = error

    def _serve(self, _conn: Any, _data: bytes) -> Any:
        who(self._engine)
        assert out(self._engine) == 1
        if self._error:
            raise self._error
        return False


@pytest.mark.parametrize("error", [None, RuntimeError("broken")])
def test_the_thread_of_a_client_that_makes_a_pause_holds_nothing(
    pooled: Engine, error: Exception | None
) -> None:
    conn = SimpleNamespace(
        parser=SimpleNamespace(unreader=SimpleNamespace(take_buffered=lambda: b"")),
    )
    with pytest.raises(RuntimeError) if error else nullcontext():
        Serving(pooled, error).handle(conn)
    assert out(pooled) == 0


def test_one_on_which_nothing_was_done_is_not_held(pooled: Engine, connection: Connection) -> None:
    connection.execute(text("CREATE TABLE things (name text)"))
    with pooled.connect() as one:
        one.info[DIRECT] = False  # as behind a pooler
    PUT.rows_alone(pooled, {"name": "one"}, hold=True)
    assert out(pooled) == 0
    assert connection.scalar(COUNT) == 1
