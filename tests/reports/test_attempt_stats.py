"""What ended lately, by type, with its run times."""

from sqlalchemy import Connection

from spoils.reports.attempt_stats import AttemptStats, recent_stats
from tests.rows import Rows


def entered(rows: Rows, task_type: str, outcome: str, *, bucket: int, count: int, ago: int = 1) -> None:
    rows.ended(count, ago, 10, task_type=task_type, outcome=outcome, bucket=bucket)


def test_the_last_minutes_are_summed_up_by_type(connection: Connection, rows: Rows) -> None:
    entered(rows, "sample", "finished", bucket=3, count=2)
    entered(rows, "sample", "finished", bucket=5, count=1, ago=3)
    entered(rows, "sample", "failed", bucket=5, count=4)
    entered(rows, "other", "finished", bucket=7, count=9)
    entered(rows, "sample", "finished", bucket=3, count=100, ago=11)
    found = recent_stats(connection, minutes=10)
    assert set(found) == {"sample", "other"}
    sample = found["sample"]
    assert dict(sample.outcomes) == {"finished": 3, "failed": 4}
    assert dict(sample.buckets) == {3: 2, 5: 5}
    assert (sample.ran_ms, sample.average_ms) == (70, 10)


def test_where_nothing_ran_there_is_no_figure() -> None:
    assert AttemptStats().average_ms is None
    assert AttemptStats().percentile_ms(0.5) is None
