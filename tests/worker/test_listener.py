"""Waiting on the claiming connection: notifications come through, and anybody can end the wait."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import Connection, text

from spoils.worker.listener import CHANNEL, Listener
from tests.support import eventually


class Heard(list[float]):
    """The seconds that were passed on, and the tasks that were named."""

    def __init__(self) -> None:
        super().__init__()
        self.named: list[str | None] = []

    def take(self, seconds: float, named: str | None) -> None:
        self.append(seconds)
        self.named.append(named)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def listener(heard: Heard) -> Iterator[Listener]:
    listener = Listener(on_notify=heard.take)
    yield listener
    listener.close()


@pytest.fixture
def session(database_url: str) -> Iterator[Any]:
    session = psycopg2.connect(database_url)
    session.autocommit = True
    yield session
    session.close()


def notify(connection: Connection, *payloads: str) -> None:
    for payload in payloads:
        connection.execute(
            text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload}
        )


def test_a_notification_ends_the_wait_and_is_passed_on(
    listener: Listener, heard: Heard, session: Any, connection: Connection
) -> None:
    listener.attach(session)
    threading.Timer(0.05, notify, [connection, "1.5"]).start()
    listener.wait(30)
    assert (heard, heard.named) == ([1.5], [None])


def test_the_one_task_that_is_named_is_passed_on(
    listener: Listener, heard: Heard, session: Any, connection: Connection
) -> None:
    listener.attach(session)
    task_id = uuid4()
    notify(connection, f"-0.001 {task_id}")
    listener.wait(30)
    assert (heard, heard.named) == ([-0.001], [str(task_id)])


def test_of_several_at_once_none_is_named(
    listener: Listener, heard: Heard, session: Any, connection: Connection
) -> None:
    listener.attach(session)
    connection.execute(
        text("SELECT pg_notify(:channel, '0.000 ' || gen_random_uuid()) FROM generate_series(1, 2)"),
        {"channel": CHANNEL},
    )
    listener.wait(30)
    assert (heard, heard.named) == ([0.0], [None])


def test_of_several_the_soonest_is_passed_on(
    listener: Listener, heard: Heard, session: Any, connection: Connection
) -> None:
    listener.attach(session)
    notify(connection, "7", "0.25", "3")

    def all_heard() -> None:
        listener.wait(0.1)
        assert 0.25 in heard

    eventually(all_heard)


@pytest.mark.parametrize(
    "payload",
    ["", "soon", "nan", "inf", "{}", "-60 you", " ", "-60 01a2286b", "0 0; --"],
)
def test_somebody_else_s_words_mean_look_at_once(
    *, listener: Listener, heard: Heard, session: Any, connection: Connection, payload: str
) -> None:
    listener.attach(session)
    notify(connection, payload)
    listener.wait(30)
    assert (heard, heard.named) == ([0.0], [None])


def test_what_arrives_with_the_answer_to_a_statement_is_passed_on(
    listener: Listener, heard: Heard, session: Any, connection: Connection
) -> None:
    listener.attach(session)
    notify(connection, "2")
    with session.cursor() as cursor:
        cursor.execute("SELECT 1")
    listener.pass_on()
    listener.pass_on()
    assert heard == [2.0]


@pytest.mark.parametrize("attached", [True, False])
def test_an_interruption_ends_the_wait_also_one_from_before_and_many(
    *, listener: Listener, heard: Heard, session: Any, attached: bool
) -> None:
    listener.attach(session if attached else None)
    for _ in range(100_000):  # more than the pipe holds
        listener.interrupt()
    listener.wait(30)
    threading.Timer(0.05, listener.interrupt).start()
    listener.wait(30)
    assert heard == []


def test_nothing_is_passed_on_when_the_time_is_over(listener: Listener, heard: Heard, session: Any) -> None:
    listener.attach(session)
    listener.wait(0.01)
    assert heard == []


def test_a_connection_that_is_ended_raises_instead_of_waiting(
    listener: Listener, session: Any, connection: Connection
) -> None:
    listener.attach(session)
    connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": session.info.backend_pid})

    def ended() -> None:
        # The first wait may only find the server's last words.
        with pytest.raises(psycopg2.Error):
            listener.wait(1)

    eventually(ended)
    listener.attach(None)
    listener.wait(0.01)
