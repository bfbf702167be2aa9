"""Waiting on the claiming connection: notifications come through, and anybody can end the wait."""

import threading
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import make_engine
from spoils.worker.claim_connection import TASKS, ClaimConnection
from tests.support import eventually


@pytest.fixture
def direct(database_url: str) -> Iterator[Engine]:
    """A pooler could not pass notifications on."""
    made = make_engine(database_url, connections=1, application_name="claims", autocommit=True, ping=False)
    yield made
    made.dispose()


@pytest.fixture
def claims(direct: Engine) -> Iterator[ClaimConnection]:
    claims = ClaimConnection(direct)
    yield claims
    claims.close()


def notify(connection: Connection, *payloads: str) -> None:
    for payload in payloads:
        connection.execute(
            text("SELECT pg_notify(:channel, :payload)"), {"channel": TASKS, "payload": payload}
        )


def test_a_notification_ends_the_wait(claims: ClaimConnection, connection: Connection) -> None:
    claims.get()
    threading.Timer(0.05, notify, [connection, "1.5"]).start()
    claims.wait(30)
    assert claims.notifications().due_in == [1.5]
    assert claims.notifications().due_in == []


@pytest.mark.parametrize(
    ("payload", "seconds"),
    [
        ("-0.001", -0.001), ("-60", -60.0), ("7", 7.0),
        ("", 0.0), ("soon", 0.0), ("nan", 0.0), ("inf", 0.0), ("{}", 0.0), (" ", 0.0), ("0; --", 0.0),
    ],
)  # fmt: skip
def test_a_notification_names_the_seconds_until_due_and_anything_else_means_now(
    *, claims: ClaimConnection, connection: Connection, payload: str, seconds: float
) -> None:
    claims.get()
    notify(connection, payload)
    claims.wait(30)
    assert claims.notifications().due_in == [seconds]


def test_a_notification_that_arrives_with_the_answer_to_a_statement_is_heard(
    claims: ClaimConnection, connection: Connection
) -> None:
    claims.get()
    notify(connection, "2", "3")
    claims.get().exec_driver_sql("SELECT 1")
    assert claims.notifications().due_in == [2.0, 3.0]


@pytest.mark.parametrize("connected", [True, False])
def test_an_interruption_ends_the_wait_also_one_from_before_and_many(
    *, claims: ClaimConnection, connected: bool
) -> None:
    if connected:
        claims.get()
    for _ in range(100_000):  # more than the pipe holds
        claims.interrupt()
    claims.wait(30)
    threading.Timer(0.05, claims.interrupt).start()
    claims.wait(30)
    assert claims.notifications().due_in == []


def test_a_connection_that_has_ended_raises_and_is_replaced(
    claims: ClaimConnection, connection: Connection
) -> None:
    session = claims.get().connection.driver_connection
    assert session is not None
    connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": session.info.backend_pid})

    def ended() -> None:
        # The first wait may only find the server's last words.
        with pytest.raises(psycopg2.Error):
            claims.wait(1)

    eventually(ended)
    claims.disconnect()
    claims.wait(0.01)
    notify(connection, "1")
    claims.get()
    notify(connection, "2")
    claims.wait(30)
    assert claims.notifications().due_in == [2.0]


def test_a_session_that_listens_is_lent_to_nobody(claims: ClaimConnection, direct: Engine) -> None:
    claims.get()
    claims.disconnect()
    with direct.connect() as other:
        assert other.execute(text("SELECT pg_listening_channels()")).all() == []
