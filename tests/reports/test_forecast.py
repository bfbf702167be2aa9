"""Whether a backlog grows: today's exact counts against those of a minute or more ago."""

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from spoils.models import WAITING
from spoils.queue.backlog_samples import sample_backlog
from spoils.queue.counts import count_tasks
from spoils.reports.forecast import Before, forecast, waiting_before
from tests.rows import Rows


def counted_before(connection: Connection, seconds: float) -> None:
    """Count what waits, as if that had been so many seconds ago."""
    sample_backlog(connection)
    connection.execute(
        text(
            "UPDATE spoils_backlog SET minute = minute - make_interval(secs => :ago), "
            "counted_at = counted_at - make_interval(secs => :ago) WHERE counted_at > now() - interval '5 s'"
        ),
        {"ago": seconds},
    )


@pytest.mark.parametrize(
    ("waiting", "before", "sentence"),
    [
        (2_000, Before(800, 100.0), "growing 12/s, will not drain"),
        (810, Before(800, 60.0), "growing 10/min, will not drain"),
        (800, Before(800, 60.0), "not shrinking"),
        (2_100, Before(2_160, 60.0), "clears in about 35 min"),
        (30, Before(90, 60.0), "clears in about 30 s"),
        (7_200, Before(7_260, 60.0), "clears in about 2 h"),
        (0, Before(60, 60.0), "clears in about 1 s"),
    ],
)
def test_the_outlook_of_a_backlog(waiting: int, before: Before, sentence: str) -> None:
    assert forecast(waiting, before).sentence == sentence


def test_what_waited_is_counted_once_a_minute_and_compared_with_a_minute_ago(rows: Rows) -> None:
    connection, session = rows.connection, Session(rows.connection)
    for _ in range(3):
        rows.task(task_type="mail")
    rows.task(task_type="idle", state="finished")
    counted_before(connection, 70)
    rows.task(task_type="mail", state="retried")
    rows.task(task_type="fresh")
    for _ in range(2):
        sample_backlog(connection)
    # The type that has just come is not known, nor is what was counted seconds ago used.
    before = waiting_before(session)
    assert {name: each.waiting for name, each in before.items()} == {"mail": 3, "idle": 0}
    assert 70 <= before["mail"].seconds_ago < 100
    now = sum(count_tasks(connection)["mail"][state] for state in WAITING)
    assert forecast(now, before["mail"]).growth_per_second == pytest.approx(1 / before["mail"].seconds_ago)


def test_counts_older_than_three_minutes_say_nothing_and_go_after_an_hour(rows: Rows) -> None:
    rows.task(task_type="mail")
    counted_before(rows.connection, 200)
    assert waiting_before(Session(rows.connection)) == {}
    rows.connection.execute(text("UPDATE spoils_backlog SET minute = minute - interval '1 hour'"))
    sample_backlog(rows.connection)
    assert rows.value("SELECT count(*) FROM spoils_backlog WHERE minute < now() - interval '30 min'") == 0
