"""Minutes: the buckets of run time, and folding that loses nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from spoils.db.engine import transaction
from spoils.queue.minute_stats import LAST_BUCKET, bucket, roll_up_minutes, upper_ms
from tests.rows import Rows

TOTALS = """
    SELECT minute, task_type, outcome, bucket, sum(count), sum(ran_ms)
    FROM spoils_minutes GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""


@pytest.mark.parametrize(
    ("ran_ms", "number"),
    [
        (-5, 0),
        (0, 0),
        (1, 1),
        (2, 5),
        (4, 9),
        (1000, 40),
        (2**31, 125),
        (2**40, LAST_BUCKET),
        (10**30, LAST_BUCKET),
    ],
)
def test_a_run_time_has_its_bucket(ran_ms: int, number: int) -> None:
    assert bucket(ran_ms) == number


@given(st.integers(1, 3_600_000_000))
def test_a_run_time_lies_within_its_bucket_and_the_bucket_is_narrow(ran_ms: int) -> None:
    number = bucket(ran_ms)
    lower = upper_ms(number - 1)
    assert lower * (1 - 1e-9) <= ran_ms <= upper_ms(number) * (1 + 1e-9)
    assert bucket(ran_ms + 1) >= number
    middle = (lower * upper_ms(number)) ** 0.5
    assert abs(middle - ran_ms) / ran_ms <= 0.1


def entered(engine: Engine, minutes_ago: int, times: int, **columns: Any) -> None:
    values = {"task_type": "sample", "outcome": "finished", "bucket": 3, "count": 2, "ran_ms": 7, **columns}
    with engine.connect() as connection:
        connection.execute(
            text(
                "INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms) SELECT "
                "date_trunc('minute', now()) - make_interval(mins => :ago), "
                ":task_type, :outcome, :bucket, :count, :ran_ms "
                "FROM generate_series(1, :times)"
            ),
            {"ago": minutes_ago, "times": times, **values},
        )


def test_past_minutes_are_folded_into_one_row_each_and_the_sums_stay(engine: Engine, rows: Rows) -> None:
    entered(engine, 5, 4)
    entered(engine, 5, 2, bucket=4)
    entered(engine, 5, 1, outcome="failed")
    entered(engine, 4, 3, task_type="other")
    entered(engine, 3, 1)
    before = rows.all(TOTALS)
    for _ in range(2):
        with transaction(engine) as connection:
            roll_up_minutes(connection)
        assert rows.all(TOTALS) == before
        assert rows.value("SELECT count(*) FROM spoils_minutes") == len(before) == 5


def test_the_running_minute_is_left_as_it_is(engine: Engine, rows: Rows) -> None:
    entered(engine, -1, 3)  # ahead, so that no minute ends in the middle of this test
    with transaction(engine) as connection:
        roll_up_minutes(connection)
    assert rows.value("SELECT count(*) FROM spoils_minutes") == 3


def test_what_is_one_row_already_is_not_written_again(engine: Engine, rows: Rows) -> None:
    entered(engine, 5, 1)
    before = rows.all("SELECT id, xmin::text FROM spoils_minutes")
    with transaction(engine) as connection:
        roll_up_minutes(connection)
    assert rows.all("SELECT id, xmin::text FROM spoils_minutes") == before
