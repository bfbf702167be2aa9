"""Errors that repeat: which of them are logged, and which are the database's outage."""

import logging

import psycopg2
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from spoils.db.engine import make_engine
from spoils.db.trouble import AGAIN_SECONDS, QUIET_SECONDS, Trouble, is_outage, log_error, log_success
from tests.rows import Rows


def error_of(engine: Engine, *statements: str) -> Exception:
    """Return what the last of the statements, which fails, raises."""
    with engine.connect() as connection:
        for statement in statements[:-1]:
            connection.execute(text(statement))
        with pytest.raises(SQLAlchemyError) as raised:
            connection.execute(text(statements[-1]))
    return raised.value


@pytest.fixture
def lost(engine: Engine, rows: Rows) -> Exception:
    """Return the error of a statement whose session was ended."""
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        rows.connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(DBAPIError) as raised:
            connection.execute(text("SELECT 1"))
    return raised.value


def test_trouble_is_logged_when_it_begins_and_once_a_minute_while_it_lasts() -> None:
    trouble = Trouble("a loop")
    logged = [(now, note) for now in range(200) if (note := trouble.met(float(now))) is not None]
    assert logged == [
        (0, ""),
        (60, " (61 errors in 60 s)"),
        (120, " (121 errors in 120 s)"),
        (180, " (181 errors in 180 s)"),
    ]
    assert AGAIN_SECONDS == 60.0


def test_its_end_is_logged_once() -> None:
    trouble = Trouble("a loop")
    assert trouble.over(0.0) is None
    for now in (100.0, 101.0, 105.0):
        trouble.met(now)
    assert trouble.over(105.0 + QUIET_SECONDS) == "3 errors in 5 s"
    assert trouble.over(106.0 + QUIET_SECONDS) is None


def test_a_success_between_two_errors_does_not_end_it() -> None:
    trouble = Trouble("a loop")
    notes = []
    for now in range(0, 300, 2):
        notes.append(trouble.met(float(now)))
        assert trouble.over(now + 1.0) is None
    assert len([note for note in notes if note is not None]) == 5


def test_an_error_after_its_end_begins_a_new_one() -> None:
    trouble = Trouble("a loop")
    trouble.met(0.0)
    assert trouble.over(QUIET_SECONDS) == "1 error in 0 s"
    assert trouble.met(QUIET_SECONDS + 1.0) == ""


def test_a_lost_connection_is_logged_once_for_all_that_meet_it_and_without_a_traceback(
    lost: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("presence", "settler", "presence", "dispatcher"):
        log_error(Trouble(name), lost)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("Database unavailable (presence): ")
    assert "\n" not in record.getMessage()
    assert not record.exc_info


def test_another_error_is_logged_with_one_traceback(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble("a loop")
    for _ in range(3):
        log_error(trouble, ValueError("strange"))
        log_success(trouble)
    (record,) = caplog.records
    assert record.getMessage() == "a loop: ValueError: strange"
    assert record.exc_info


def raised(number: int) -> Exception:
    try:
        if number == 0:
            raise ValueError("strange")
        if number == 1:
            raise ValueError("strange in another way")
        raise KeyError("missing")
    except (ValueError, KeyError) as exc:
        return exc


def test_another_kind_of_error_is_logged_at_once_with_its_own_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trouble = Trouble("a loop")
    for _ in range(3):
        for number in range(3):
            log_error(trouble, raised(number))
            log_success(trouble)
    assert [record.getMessage() for record in caplog.records] == [
        "a loop: ValueError: strange",
        "a loop: ValueError: strange in another way",
        "a loop: KeyError: 'missing'",
    ]
    assert all(record.exc_info for record in caplog.records)


def test_each_kind_is_logged_once_a_minute_and_the_end_of_all_once() -> None:
    trouble = Trouble("a loop")
    assert [trouble.met(now, kind) for now, kind in ((0.0, "a"), (1.0, "b"), (2.0, "a"), (2.0, "b"))] == [
        "",
        "",
        None,
        None,
    ]
    assert trouble.met(60.0, "a") == " (5 errors in 60 s)"
    assert trouble.met(60.0, "b") is None
    assert trouble.met(61.0, "b") == " (7 errors in 61 s)"
    assert trouble.over(61.0 + QUIET_SECONDS) == "7 errors in 61 s"
    assert trouble.over(62.0 + QUIET_SECONDS) is None
    assert trouble.met(63.0 + QUIET_SECONDS, "b") == ""


def test_a_full_disk_during_an_outage_has_a_line_of_its_own_and_lost_connections_share_one(
    engine: Engine, lost: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    refused = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{}'; END $$"
    errors = [lost] + [
        error_of(engine, refused.format(code)) for code in ("57P03", "53100", "53300", "08006")
    ]
    for _ in range(2):
        for error in errors:
            log_error(Trouble("settler"), error)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert lines[1:] == ["Database unavailable (settler): no"] * 2
    assert not any(record.exc_info for record in caplog.records)


def test_a_statement_that_a_server_refuses_to_everybody_is_its_outage(
    engine: Engine, lost: Exception
) -> None:
    assert is_outage(lost)
    assert is_outage(error_of(engine, "SET default_transaction_read_only = on", "CREATE TABLE made (id int)"))
    refused = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}'; END $$"
    for code in ("53100", "53300", "57P01", "57P03", "08006"):
        assert is_outage(error_of(engine, refused.format(code))), code


def test_a_server_that_is_not_there_is_an_outage() -> None:
    away = make_engine("postgresql://nobody@127.0.0.1:1/none", connections=1, application_name="tests")
    with pytest.raises(DBAPIError) as raised:
        away.connect()
    assert is_outage(raised.value)
    assert is_outage(raised.value.orig)


def test_a_pool_without_a_free_connection_is_part_of_an_outage(database_url: str) -> None:
    small = make_engine(database_url, connections=1, application_name="tests", pool_timeout=0.01)
    with small.connect(), pytest.raises(SQLAlchemyError) as raised:
        small.connect()
    small.dispose()
    assert is_outage(raised.value)


def test_a_statement_that_is_wrong_by_itself_is_no_outage(engine: Engine, rows: Rows) -> None:
    assert not is_outage(error_of(engine, "SELECT FROM nowhere"))
    assert not is_outage(error_of(engine, "SELECT 1 / 0"))
    rows.connection.execute(text("BEGIN; LOCK TABLE fang_tasks"))
    assert not is_outage(error_of(engine, "SET lock_timeout = 1", "SELECT FROM fang_tasks"))
    rows.connection.execute(text("ROLLBACK"))
    assert not is_outage(psycopg2.ProgrammingError("can't adapt type"))
    assert not is_outage(ValueError("strange"))
