"""A connection to a server that no longer takes writes is replaced; one in a transaction that is read-only is not."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import driver_url, engine_options, obey_rules
from spoils.worker.transient import is_transient
from tests.db.things import COUNT, PUT

# The server reports this one by itself. A client cannot tell whether its session changed it or its configuration.
DEMOTE = "SET default_transaction_read_only = on"
READ_ONLY = "SET transaction_read_only = on"
INSERT = "INSERT INTO things VALUES ('one')"


@pytest.fixture
def pooled(database_url: str, connection: Connection) -> Iterator[Engine]:
    connection.exec_driver_sql("CREATE TABLE things (name text)")
    options = engine_options(connections=2, application_name="a test")
    engine = create_engine(driver_url(database_url), **options)
    obey_rules(engine, ping=False)
    yield engine
    engine.dispose()


def pid_of(connection: Connection) -> int:
    driver: Any = connection.connection.driver_connection
    pid: int = driver.info.backend_pid
    return pid


def test_a_statement_that_a_demoted_server_refuses_ends_its_connection(
    pooled: Engine, connection: Connection
) -> None:
    with pooled.connect() as demoted:
        demoted.exec_driver_sql(DEMOTE)
        demoted.commit()
        with pytest.raises(DBAPIError) as refused:
            demoted.exec_driver_sql(INSERT)
    assert refused.value.connection_invalidated
    with pooled.begin() as renewed:
        renewed.exec_driver_sql(INSERT)
    assert connection.execute(COUNT).scalar_one() == 1


def test_an_enqueue_s_statement_that_a_demoted_server_refuses_ends_its_connection(
    pooled: Engine, connection: Connection
) -> None:
    # Between the pool's look at the connection and the statement.
    @event.listens_for(pooled, "checkout", once=True)
    def demote(driver: Any, *_: object) -> None:
        with driver.cursor() as cursor:
            cursor.execute(DEMOTE)
        driver.commit()

    with pytest.raises(DBAPIError) as refused:
        PUT.rows_alone(pooled, {"name": "one"})
    assert refused.value.connection_invalidated
    PUT.rows_alone(pooled, {"name": "one"})
    assert connection.execute(COUNT).scalar_one() == 1


def test_a_job_s_end_that_a_demoted_server_refuses_is_no_failure_of_the_job(
    pooled: Engine, connection: Connection
) -> None:
    with pooled.connect() as demoted:
        demoted.exec_driver_sql(DEMOTE)
        demoted.commit()
        demoted.begin()
        with pytest.raises(DBAPIError) as refused:
            PUT.rows(demoted, {"name": "one"})
    assert is_transient(refused.value)
    with pooled.begin() as again:
        PUT.rows(again, {"name": "one"})
    assert connection.execute(COUNT).scalar_one() == 1


def test_a_job_that_makes_its_own_transaction_read_only_fails_and_keeps_its_connection(
    pooled: Engine,
) -> None:
    with pooled.connect() as job:
        pid = pid_of(job)
        job.exec_driver_sql(READ_ONLY)
        with pytest.raises(DBAPIError) as refused:
            job.exec_driver_sql(INSERT)
    assert not is_transient(refused.value)
    with pooled.connect() as again:
        assert pid_of(again) == pid


def test_the_pool_s_other_connections_to_a_demoted_server_are_replaced_before_they_are_used(
    pooled: Engine,
) -> None:
    with pooled.connect() as one, pooled.connect() as other:
        before = {pid_of(one), pid_of(other)}
        for demoted in (one, other):
            demoted.exec_driver_sql(DEMOTE)
            demoted.commit()
    with pooled.connect() as one, pooled.connect() as other:
        assert before.isdisjoint({pid_of(one), pid_of(other)})


@pytest.mark.parametrize(
    "statement", [DEMOTE, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"], ids=["default", "session"]
)
@pytest.mark.parametrize("writes", [False, True])
def test_a_job_that_makes_its_session_read_only_costs_the_pool_no_other_connection(
    *, pooled: Engine, connection: Connection, statement: str, writes: bool
) -> None:
    with pooled.connect() as other:
        kept = pid_of(other)
        with pooled.connect() as job:
            dropped = pid_of(job)
            job.exec_driver_sql(statement)
            job.commit()
            if writes:
                with pytest.raises(DBAPIError):
                    job.exec_driver_sql(INSERT)
    with pooled.connect() as one, pooled.connect() as two:
        pids = {pid_of(one), pid_of(two)}
        assert kept in pids
        assert dropped not in pids
        for each in (one, two):
            each.exec_driver_sql(INSERT)
            each.commit()
    assert connection.execute(COUNT).scalar_one() == 2


def test_one_refused_write_replaces_all_connections_to_a_server_that_was_read_only_when_they_were_made(
    pooled: Engine, connection: Connection
) -> None:
    alter = f"ALTER DATABASE {pooled.url.database} SET default_transaction_read_only"
    connection.exec_driver_sql(f"{alter} = on")
    with pooled.connect() as one, pooled.connect() as other:
        before = {pid_of(one), pid_of(other)}
    connection.exec_driver_sql(f"{alter} = off")
    with pytest.raises(DBAPIError), pooled.connect() as refused:
        refused.exec_driver_sql(INSERT)
    with pooled.connect() as one, pooled.connect() as other:
        assert before.isdisjoint({pid_of(one), pid_of(other)})


def test_connections_to_a_server_that_was_read_only_all_along_are_kept(
    pooled: Engine, connection: Connection
) -> None:
    connection.exec_driver_sql(f"ALTER DATABASE {pooled.url.database} SET default_transaction_read_only = on")
    pids = set()
    for _ in range(3):
        with pooled.connect() as reading:
            assert reading.execute(COUNT).scalar_one() == 0
            pids.add(pid_of(reading))
    assert len(pids) == 1
