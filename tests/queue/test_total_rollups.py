"""Totals of all time: rolling minutes up and pruning them changes no sum."""

from typing import Any

from sqlalchemy import Engine, text

from spoils.db.engine import transaction
from spoils.queue.prune import prune_minutes
from spoils.queue.total_rollups import roll_up_totals
from spoils.reports.attempt_stats import total_stats
from tests.rows import Rows

TOTALS = "SELECT task_type, outcome, bucket, count, ran_ms FROM spoils_totals ORDER BY 1, 2, 3"


def entered(rows: Rows, minutes_ago: int, count: int, *, task_type: str = "sample", bucket: int = 3) -> None:
    rows.connection.execute(
        text(
            "INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms) VALUES "
            "(date_trunc('minute', now() - make_interval(mins => :ago)), :type, 'finished', :bucket, :count, 7)"
        ),
        {"ago": minutes_ago, "type": task_type, "bucket": bucket, "count": count},
    )


def rolled_up(engine: Engine) -> None:
    with transaction(engine) as connection:
        roll_up_totals(connection)


def sums(rows: Rows) -> dict[str, Any]:
    return {
        name: (dict(stats.outcomes), stats.ran_ms, dict(stats.buckets))
        for name, stats in total_stats(rows.connection).items()
    }


def test_rolling_up_moves_minutes_into_the_totals_and_changes_no_sum(engine: Engine, rows: Rows) -> None:
    entered(rows, 40 * 24 * 60, 5)
    entered(rows, 60, 1)
    entered(rows, 60, 2, bucket=9)
    entered(rows, 60, 4, task_type="other")
    entered(rows, 0, 8)
    expected = {
        "sample": ({"finished": 16}, 28, {3: 14, 9: 2}),
        "other": ({"finished": 4}, 7, {3: 4}),
    }
    assert sums(rows) == expected
    for _ in range(2):
        rolled_up(engine)
        assert sums(rows) == expected
    assert rows.all(TOTALS) == [
        ("other", "finished", 3, 4, 7),
        ("sample", "finished", 3, 6, 14),
        ("sample", "finished", 9, 2, 7),
    ]


def test_no_sum_decreases_when_minutes_are_pruned(engine: Engine, rows: Rows) -> None:
    entered(rows, 3 * 24 * 60, 5)
    entered(rows, 60, 1)
    rolled_up(engine)
    before = sums(rows)
    assert prune_minutes(rows.connection, days=1) == 1
    assert sums(rows) == before
    rolled_up(engine)
    assert sums(rows) == before


def test_what_ends_later_is_added_to_its_row(engine: Engine, rows: Rows) -> None:
    entered(rows, 60, 1)
    rolled_up(engine)
    # As if the first roll-up had been a day ago.
    rows.connection.execute(text("UPDATE spoils_totals SET until = until - interval '1 day'"))
    rows.connection.execute(text("UPDATE spoils_minutes SET minute = minute - interval '1 day'"))
    entered(rows, 50, 2)
    entered(rows, 50, 4, task_type="other")
    rolled_up(engine)
    assert rows.all(TOTALS) == [("other", "finished", 3, 4, 7), ("sample", "finished", 3, 3, 14)]
    assert sums(rows)["sample"][0] == {"finished": 3}


def test_two_processes_add_the_same_minutes_once(engine: Engine, rows: Rows) -> None:
    entered(rows, 60, 1)
    with transaction(engine) as first:
        roll_up_totals(first)
        rolled_up(engine)
    rolled_up(engine)
    assert rows.all(TOTALS) == [("sample", "finished", 3, 1, 7)]
