"""Statements that go through the driver alone: what a transaction of their own leaves of the connection."""

import pytest
from sqlalchemy import (
    BigInteger,
    Connection,
    Text,
    bindparam,
    cast,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError

from spoils.db.engine import make_engine
from spoils.db.statements import Statement
from tests.db.things import COUNT, DIVIDE, PUT
from tests.programs import free_port

DIE = Statement(
    select(func.pg_terminate_backend(func.pg_backend_pid(), cast(bindparam("wait"), BigInteger))),
    "die",
    anywhere=True,
)


def test_a_statement_commits_by_itself_also_on_an_engine_of_transactions(
    database_url: str, connection: Connection
) -> None:
    connection.execute(text("CREATE TABLE things (name text)"))
    engine = make_engine(database_url, connections=1, application_name="a test")
    for number in (1, 2):
        PUT.rows_alone(engine, {"name": "at once"})
        assert connection.execute(COUNT).scalar_one() == number
    with pytest.raises(DBAPIError, match="division by zero"):
        DIVIDE.rows_alone(engine, {"by": 0})
    # The connection went back to the pool as it came.
    with engine.connect() as again:
        again.execute(text("INSERT INTO things VALUES ('in a transaction')"))
        assert connection.execute(COUNT).scalar_one() == 2
    engine.dispose()


def test_a_connection_that_died_in_a_statement_gives_its_place_back(
    database_url: str, connection: Connection
) -> None:
    engine = make_engine(database_url, connections=1, application_name="a test", pool_timeout=1)
    for _ in range(3):
        with pytest.raises(DBAPIError) as found:
            DIE.rows_alone(engine, {"wait": 0})
        assert found.value.connection_invalidated
    with engine.connect() as again:
        assert again.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


@pytest.mark.parametrize("constant", ["…", "é", "🥕", "it's", "a\\b\\n", "100 %", "%(name)s", "$1"])
def test_a_constant_text_arrives_as_it_is_on_every_kind_of_connection(
    database_url: str, constant: str
) -> None:
    statement = Statement(
        select(literal(constant), cast(bindparam("given"), Text)), "a_constant", anywhere=True
    )
    for by_index in (True, False):
        engine = make_engine(database_url, connections=1, application_name="a test", by_index=by_index)
        with engine.connect() as connection:
            assert statement.rows(connection, {"given": "%é"}) == [(constant, "%é")]
        assert statement.rows_alone(engine, {"given": "%é"}) == [(constant, "%é")]
        engine.dispose()


def test_a_statement_without_parameters_runs_on_every_kind_of_connection(database_url: str) -> None:
    statement = Statement(select(literal("100 %")), "without_parameters", anywhere=True)
    for by_index in (True, False):
        engine = make_engine(database_url, connections=1, application_name="a test", by_index=by_index)
        with engine.connect() as connection:
            assert statement.rows(connection, {}) == [("100 %",)]
        assert statement.rows_alone(engine, {}) == [("100 %",)]
        engine.dispose()


def test_a_server_that_is_not_there_is_told_as_for_any_other_statement() -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    engine = make_engine(url, connections=1, application_name="a test")
    with pytest.raises(OperationalError, match="refused") as found:
        PUT.rows_alone(engine, {"name": "nowhere"})
    assert not found.value.connection_invalidated
    engine.dispose()
