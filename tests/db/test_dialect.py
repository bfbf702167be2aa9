"""The savepoints of jobs' sessions: the first comes with the BEGIN, unless something was executed since."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg2 import extensions
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.orm import Session

from spoils.db import dialect
from spoils.db.engine import driver_url, engine_options
from spoils.db.explicit import Driver, ExplicitTransaction
from spoils.job.outcome import TimedOut

sent: list[str] = []


class Recording(extensions.cursor):
    """A cursor that keeps what was sent."""

    def execute(self, query: Any, values: Any = None) -> None:
        sent.append(query)
        super().execute(query, values)


@pytest.fixture
def engine(database_url: str, connection: Connection) -> Iterator[Engine]:
    connection.execute(text("CREATE TABLE things (name text)"))
    options = engine_options(connections=1, application_name="a test", connection_factory=Driver)
    engine = create_engine(driver_url(database_url, dialect.NAME), **options)

    @event.listens_for(engine, "connect")
    def record(driver: Any, _: object) -> None:
        driver.cursor_factory = Recording

    yield engine
    engine.dispose()


@pytest.fixture
def transaction(engine: Engine) -> Iterator[ExplicitTransaction]:
    transaction = ExplicitTransaction(engine)
    transaction.begin()
    sent.clear()
    yield transaction
    transaction.close()


def session_of(connection: Connection) -> Session:
    return Session(bind=connection, join_transaction_mode="create_savepoint")


def put(where: Session | Connection, name: str) -> None:
    where.execute(text("INSERT INTO things VALUES (:name)"), {"name": name})


def names(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT name FROM things ORDER BY 1")).scalars())


def test_a_session_that_comes_first_finds_its_savepoint_made(transaction: ExplicitTransaction) -> None:
    with session_of(transaction.connection) as session:
        put(session, "undone")
        session.rollback()
        assert [query.split()[0] for query in sent] == ["INSERT", "ROLLBACK"]
        put(session, "kept")
        session.commit()
        assert [query.split()[0] for query in sent][2:] == ["SAVEPOINT", "INSERT", "RELEASE"]
        put(session, "undone")
    assert names(transaction.connection) == ["kept"]


def test_what_was_done_before_the_session_is_not_undone_with_it(transaction: ExplicitTransaction) -> None:
    put(transaction.connection, "first")
    with session_of(transaction.connection) as session:
        put(session, "undone")
    assert names(transaction.connection) == ["first"]


def test_a_large_object_that_was_made_before_the_session_is_not_undone_with_it(
    transaction: ExplicitTransaction,
) -> None:
    large = transaction.driver.lobject(0, "wb")
    with session_of(transaction.connection) as session:
        put(session, "undone")
    assert transaction.driver.lobject(large.oid, "rb").read() == b""


def test_what_listens_for_the_beginning_is_not_undone_with_a_session(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        put(connection, "by the listener")

    transaction = ExplicitTransaction(engine)
    transaction.begin()
    with session_of(transaction.connection) as session:
        put(session, "undone")
    assert names(transaction.connection) == ["by the listener"]
    transaction.close()


def test_a_savepoint_that_nobody_used_is_not_there_for_the_next_transaction(engine: Engine) -> None:
    unused = ExplicitTransaction(engine)
    unused.begin()
    unused.close()
    with engine.begin() as connection:
        with session_of(connection) as session:
            put(session, "undone")
        assert names(connection) == []


def test_savepoints_within_one_another_and_two_sessions_are_each_their_own(
    transaction: ExplicitTransaction,
) -> None:
    with session_of(transaction.connection) as session:
        put(session, "one")
        with session.begin_nested() as nested:
            put(session, "undone")
            nested.rollback()
        with session_of(transaction.connection) as other:
            put(other, "two")
            other.commit()
        session.commit()
    assert names(transaction.connection) == ["one", "two"]


def test_a_connection_of_another_kind_makes_each_savepoint(database_url: str, engine: Engine) -> None:
    other = create_engine(driver_url(database_url, dialect.NAME))
    with other.begin() as connection:
        put(connection, "first")
        with session_of(connection) as session:
            put(session, "undone")
        assert names(connection) == ["first"]
    other.dispose()


def test_after_an_interruption_nobody_goes_on_with_the_connection(
    transaction: ExplicitTransaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = dialect.execute

    def interrupted(*given: Any) -> None:
        execute(*given)
        raise TimedOut

    session = session_of(transaction.connection)
    put(session, "one")
    monkeypatch.setattr(dialect, "execute", interrupted)
    with pytest.raises(TimedOut):
        session.commit()
    assert transaction.connection.invalidated
