"""What ended lately, by type, with its run times."""

from sqlalchemy import Connection, text

from spoils.reports.attempt_stats import AttemptStats, recent_stats


def entered(
    connection: Connection, task_type: str, outcome: str, *, bucket: int, count: int, ago: int = 1
) -> None:
    connection.execute(
        text(
            "INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms) "
            "VALUES (now() - make_interval(mins => :ago), :type, :outcome, :bucket, :count, 10 * :count)"
        ),
        {"ago": ago, "type": task_type, "outcome": outcome, "bucket": bucket, "count": count},
    )


def test_the_last_minutes_are_summed_up_by_type(connection: Connection) -> None:
    entered(connection, "sample", "finished", bucket=3, count=2)
    entered(connection, "sample", "finished", bucket=5, count=1, ago=3)
    entered(connection, "sample", "failed", bucket=5, count=4)
    entered(connection, "other", "finished", bucket=7, count=9)
    entered(connection, "sample", "finished", bucket=3, count=100, ago=11)
    found = recent_stats(connection, minutes=10)
    assert set(found) == {"sample", "other"}
    sample = found["sample"]
    assert dict(sample.outcomes) == {"finished": 3, "failed": 4}
    assert dict(sample.buckets) == {3: 2, 5: 5}
    assert (sample.ran_ms, sample.average_ms) == (70, 10)


def test_where_nothing_ran_there_is_no_figure() -> None:
    assert AttemptStats().average_ms is None
    assert AttemptStats().percentile_ms(0.5) is None
