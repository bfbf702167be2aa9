"""The rules of every connection."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from spoils.db import engine as rules
from spoils.db.engine import make_engine, transaction


def test_a_transaction_is_one_also_on_an_engine_that_commits_each_statement(
    engine: Engine, connection: Connection
) -> None:
    connection.execute(text("CREATE TABLE things (name text)"))
    with pytest.raises(DBAPIError, match="division by zero"), transaction(engine) as inside:  # noqa: PT012
        inside.execute(text("INSERT INTO things VALUES ('lost')"))
        inside.execute(text("SELECT 1 / 0"))
    with transaction(engine) as inside:
        inside.execute(text("INSERT INTO things VALUES ('kept')"))
        assert connection.execute(text("SELECT count(*) FROM things")).scalar_one() == 0
    assert connection.execute(text("SELECT name FROM things")).scalars().all() == ["kept"]
    # The connection went back to the pool as it came.
    with engine.connect() as again:
        again.execute(text("INSERT INTO things VALUES ('at once')"))
        assert connection.execute(text("SELECT count(*) FROM things")).scalar_one() == 2


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2024-05-01 12:00:00.123456+02", datetime(2024, 5, 1, 10, 0, 0, 123456, tzinfo=UTC)),
        ("infinity", datetime.max.replace(tzinfo=UTC)),
        ("-infinity", datetime.min.replace(tzinfo=UTC)),
        ("294276-12-31", datetime.max.replace(tzinfo=UTC)),
        ("10000-01-01", datetime.max.replace(tzinfo=UTC)),
        ("4713-01-01 BC", datetime.min.replace(tzinfo=UTC)),
        (None, None),
    ],
)
def test_any_moment_that_postgresql_holds_can_be_read(
    connection: Connection, written: str | None, read: datetime | None
) -> None:
    found = connection.execute(text("SELECT CAST(:moment AS timestamptz)"), {"moment": written}).scalar_one()
    assert found == read


def test_every_connection_has_its_rules(database_url: str) -> None:
    engine = make_engine(database_url, connections=1, application_name="a test", statement_timeout_ms=1234)
    with engine.connect() as connection:
        shown = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("application_name", "TimeZone", "statement_timeout")
        }
        assert shown == {"application_name": "a test", "TimeZone": "UTC", "statement_timeout": "1234ms"}
    engine.dispose()


@pytest.mark.parametrize("believed", [-1.0, 3600.0])
def test_a_connection_is_checked_before_use_only_where_it_has_lain_idle(
    database_url: str, connection: Connection, believed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "BELIEVED_SECONDS", believed)
    engine = make_engine(database_url, connections=1, application_name="a test")
    with engine.connect() as first:
        pid = first.execute(text("SELECT pg_backend_pid()")).scalar_one()
    connection.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
    if believed > 0:
        with pytest.raises(DBAPIError), engine.connect() as again:
            again.execute(text("SELECT 1"))
    with engine.connect() as again:
        assert again.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()
