"""A transaction that ends with its last statement: nothing or all of it, and a connection that goes back as it came."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from psycopg2 import extensions
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from sqlalchemy import (
    Connection,
    Engine,
    event,
    text,
)
from sqlalchemy.exc import DBAPIError

from spoils.db.compiled import execute
from spoils.db.engine import make_engine
from spoils.db.explicit import Driver, ExplicitTransaction
from spoils.job.outcome import TimedOut
from tests.db.things import COUNT, DIVIDE, PUT


@pytest.fixture
def engine(database_url: str, connection: Connection) -> Iterator[Engine]:
    connection.execute(text("CREATE TABLE things (name text)"))
    engine = make_engine(
        database_url, connections=1, application_name="a test", pool_timeout=1, connection_factory=Driver
    )
    yield engine
    with engine.connect() as again:
        driver: Any = again.connection.driver_connection
        assert not driver.autocommit
        assert driver.info.transaction_status == TRANSACTION_STATUS_IDLE
    engine.dispose()


def begun(engine: Engine) -> ExplicitTransaction:
    transaction = ExplicitTransaction(engine)
    transaction.begin()
    transaction.connection.execute(text("INSERT INTO things VALUES ('first')"))
    return transaction


def streamed(transaction: ExplicitTransaction) -> list[int]:
    numbers = text("SELECT * FROM generate_series(1, 10)")
    return list(transaction.connection.execution_options(yield_per=3).execute(numbers).scalars())


def written(transaction: ExplicitTransaction) -> bytes:
    driver: Any = transaction.driver
    large = driver.lobject(0, "wb")
    large.write(b"large")
    return bytes(driver.lobject(large.oid, "rb").read())


@pytest.mark.parametrize("before", [None, streamed, written])
@pytest.mark.parametrize("end", ["commit", "commit_after", "close", "refused"])
def test_all_of_it_is_committed_or_nothing_whatever_psycopg2_was_asked_for(
    engine: Engine, connection: Connection, before: Any, end: str
) -> None:
    for _ in range(2):  # prepared, and as prepared before
        transaction = begun(engine)
        if before is not None:
            assert before(transaction) in (list(range(1, 11)), b"large")
        match end:
            case "commit":
                transaction.commit()
            case "commit_after":
                transaction.commit_after(PUT, {"name": "last"})
            case "refused":
                with pytest.raises(DBAPIError, match="division by zero"):
                    transaction.commit_after(DIVIDE, {"by": 0})
        at_the_end = connection.execute(COUNT).scalar_one()
        transaction.close()
        assert connection.execute(COUNT).scalar_one() == at_the_end
    assert at_the_end == {"commit": 2, "commit_after": 4, "close": 0, "refused": 0}[end]


def test_what_it_reads_by_and_by_sees_what_it_has_written(engine: Engine) -> None:
    transaction = begun(engine)
    rows = transaction.connection.execution_options(yield_per=1).execute(text("SELECT name FROM things"))
    assert rows.scalars().all() == ["first"]
    transaction.close()


def test_a_failed_one_refuses_a_cursor_of_the_server_and_ends(engine: Engine, connection: Connection) -> None:
    transaction = begun(engine)
    with pytest.raises(DBAPIError, match="division by zero"):
        transaction.connection.execute(text("SELECT 1 / 0"))
    with pytest.raises(DBAPIError):
        streamed(transaction)
    transaction.close()
    assert connection.execute(COUNT).scalar_one() == 0


def test_a_connection_that_dies_gives_its_place_back(engine: Engine, connection: Connection) -> None:
    for _ in range(3):
        transaction = begun(engine)
        backend = transaction.driver.info.backend_pid
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
        with pytest.raises(DBAPIError) as found:
            transaction.close()
        assert found.value.connection_invalidated
    assert connection.execute(COUNT).scalar_one() == 0


@pytest.mark.parametrize(
    "way",
    [
        lambda transaction: transaction.connection.rollback(),
        lambda transaction: transaction.connection.get_transaction().rollback(),
        lambda transaction: transaction.driver.rollback(),
    ],
)
def test_whoever_rolls_back_by_the_connection_has_rolled_back(
    engine: Engine, connection: Connection, way: Callable[[ExplicitTransaction], None]
) -> None:
    transaction = begun(engine)
    way(transaction)
    transaction.connection.execute(text("INSERT INTO things VALUES ('second')"))
    transaction.commit_after(PUT, {"name": "last"})
    transaction.close()
    assert connection.execute(text("SELECT name FROM things ORDER BY 1")).scalars().all() == [
        "last",
        "second",
    ]


@pytest.mark.parametrize(
    "way",
    [
        lambda transaction: transaction.connection.commit(),
        lambda transaction: transaction.driver.commit(),
    ],
)
def test_whoever_commits_by_the_connection_has_committed_and_the_end_is_as_ever(
    engine: Engine, connection: Connection, way: Callable[[ExplicitTransaction], None]
) -> None:
    transaction = begun(engine)
    way(transaction)
    assert connection.execute(COUNT).scalar_one() == 1
    transaction.commit_after(PUT, {"name": "last"})
    assert connection.execute(COUNT).scalar_one() == 2
    transaction.close()


def test_a_connection_that_somebody_else_closed_goes_back_without_a_transaction(
    engine: Engine, connection: Connection
) -> None:
    with begun(engine).connection:
        pass
    begun(engine).close()
    assert connection.execute(COUNT).scalar_one() == 0


def test_what_could_not_begin_leaves_no_transaction_and_no_gap_in_the_pool(
    engine: Engine, connection: Connection
) -> None:
    for _ in range(3):
        transaction = ExplicitTransaction(engine)
        backend = transaction.driver.info.backend_pid
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
        with pytest.raises(DBAPIError) as found:
            transaction.begin()
        assert found.value.connection_invalidated
        transaction.close()


class CancelledAtTheEnd(extensions.cursor):
    """A cursor whose last statement meets a cancel that comes late."""

    def execute(self, query: Any, values: Any = None) -> None:
        late = query in ("COMMIT", "ROLLBACK")
        super().execute("SET LOCAL statement_timeout = 1; SELECT pg_sleep(1)" if late else query, values)


@pytest.mark.parametrize("end", ["close", "commit"])
def test_a_cancel_that_comes_at_its_end_leaves_the_next_one_no_open_transaction(
    engine: Engine, connection: Connection, end: str
) -> None:
    transaction = begun(engine)
    transaction.driver.cursor_factory = CancelledAtTheEnd
    with pytest.raises(DBAPIError, match="statement timeout"):
        getattr(transaction, end)()
    with suppress(DBAPIError):
        transaction.close()
    assert transaction.driver.closed
    begun(engine).close()
    assert connection.execute(COUNT).scalar_one() == 0


def test_an_interruption_just_after_its_beginning_leaves_no_open_transaction(
    engine: Engine, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = ExplicitTransaction(engine)

    def interrupted(*given: Any) -> None:
        execute(*given)
        raise TimedOut

    monkeypatch.setattr("spoils.db.explicit.execute", interrupted)
    with pytest.raises(TimedOut):
        transaction.begin()
    transaction.close()
    assert transaction.driver.info.transaction_status == TRANSACTION_STATUS_IDLE
    assert connection.execute(COUNT).scalar_one() == 0


def test_the_driver_as_a_context_is_in_its_pool_as_it_came(engine: Engine, connection: Connection) -> None:
    transaction = begun(engine)
    with transaction.driver:
        transaction.connection.execute(text("INSERT INTO things VALUES ('second')"))
    assert connection.execute(COUNT).scalar_one() == 2
    transaction.close()


def test_what_listens_for_a_beginning_is_in_the_transaction(engine: Engine) -> None:
    event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("SET LOCAL statement_timeout = 12345"))
    transaction = begun(engine)
    assert transaction.connection.execute(text("SHOW statement_timeout")).scalar_one() == "12345ms"
    transaction.close()


def test_a_connection_beside_it_is_the_driver_s_as_ever(engine: Engine, connection: Connection) -> None:
    with engine.begin() as plain:
        plain.execute(text("INSERT INTO things VALUES ('x')"))
        assert connection.execute(COUNT).scalar_one() == 0
        assert plain.execution_options(yield_per=2).execute(text("SELECT name FROM things")).all() == [("x",)]
    assert connection.execute(COUNT).scalar_one() == 1
