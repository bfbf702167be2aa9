"""What is read of the minutes is all of them, however they are folded; and what comes is counted within bounds."""

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from spoils.db.engine import transaction
from spoils.models import TaskState
from spoils.queue.minute_stats import bucket, percentile
from spoils.queue.quarter_rollups import roll_up_quarters
from spoils.reports import charts, upcoming
from spoils.reports.backlog import oldest_waiting
from tests.rows import Rows


def entered(rows: Rows, minutes_ago: float, count: int = 1, ran_ms: int = 100, **columns: Any) -> None:
    rows.ended(count, minutes_ago, ran_ms, **{"task_type": "sample", **columns})


def a_week(rows: Rows) -> None:
    for ago in (0, 1, 5, 16, 31, 90, 700, 1_300, 3_000, 8_000):
        entered(rows, ago, count=3)
        entered(rows, ago, ran_ms=9_000, outcome="retried")
        entered(rows, ago, ran_ms=9_000, outcome="timed_out", task_type="other")


def now(rows: Rows) -> datetime:
    moment: datetime = rows.value("SELECT date_trunc('minute', now())")
    return moment


def fold(engine: Engine) -> None:
    with transaction(engine) as connection:
        roll_up_quarters(connection)


def totals(session: Session, since: datetime, step: timedelta) -> dict[str, tuple[int, int]]:
    found = charts.ended_by_step(session, since=since, step=step)
    return {
        name: (sum(each.finished for each in of.values()), sum(each.failed for each in of.values()))
        for name, of in found.items()
    }


@pytest.mark.parametrize("folds", [0, 1, 3])
def test_each_range_sums_all_that_ended_in_it(
    engine: Engine, rows: Rows, session: Session, folds: int
) -> None:
    a_week(rows)
    for _ in range(folds):
        fold(engine)
    hour = now(rows) - timedelta(minutes=59)
    assert totals(session, hour, timedelta(minutes=1)) == {"sample": (15, 5), "other": (0, 5)}
    day = (now(rows) - timedelta(hours=23)).replace(minute=0)
    assert totals(session, day, timedelta(minutes=15)) == {"sample": (24, 8), "other": (0, 8)}
    week = (now(rows) - timedelta(days=7)).replace(minute=0)
    assert totals(session, week, timedelta(hours=2)) == {"sample": (30, 10), "other": (0, 10)}


def test_the_first_minute_of_a_stretch_belongs_to_it(rows: Rows, session: Session) -> None:
    entered(rows, 10, count=4)
    entered(rows, 11, count=1)
    since = now(rows) - timedelta(minutes=10)
    assert totals(session, since, timedelta(minutes=1)) == {"sample": (4, 0)}


def test_what_ends_after_a_fold_is_counted_once(engine: Engine, rows: Rows, session: Session) -> None:
    entered(rows, 40, count=2)
    fold(engine)
    entered(rows, 1, count=5)
    fold(engine)
    sums = charts.ended_by_type(session, since=now(rows) - timedelta(hours=24))["sample"]
    assert (sums.finished, sums.failed, sums.ran_ms, sums.ended) == (7, 0, 700, 7)


def test_run_times_are_the_same_before_a_fold_and_after(engine: Engine, rows: Rows, session: Session) -> None:
    a_week(rows)
    for ago in (20, 40, 200, 2_000):
        entered(rows, ago, count=7, ran_ms=40)
        entered(rows, ago, count=2, ran_ms=40, outcome="failed")

    def read() -> tuple[object, object]:
        day = charts.ended_by_type(session, since=now(rows) - timedelta(hours=24))
        week = charts.ended_by_step(
            session,
            since=(now(rows) - timedelta(days=7)).replace(minute=0),
            step=timedelta(hours=2),
            buckets_of="sample",
        )
        return (
            {name: dict(sums.buckets) for name, sums in day.items()},
            {(name, moment): dict(sums.buckets) for name, of in week.items() for moment, sums in of.items()},
        )

    before = read()
    fold(engine)
    assert rows.value("SELECT count(*) FROM spoils_quarters") > 10
    assert read() == before
    day, week = before
    assert isinstance(day, dict)
    assert isinstance(week, dict)
    assert day["sample"][bucket(40)] == 27
    assert all(not held for (name, _), held in week.items() if name == "other")


def test_percentiles_are_within_a_tenth(rows: Rows, session: Session) -> None:
    for ran_ms in range(10, 1_001, 10):
        entered(rows, 3, ran_ms=ran_ms)
    entered(rows, 3, ran_ms=5, outcome="released")
    steps = charts.ended_by_step(
        session, since=now(rows) - timedelta(minutes=9), step=timedelta(minutes=1), buckets_of="sample"
    )
    (sums,) = steps["sample"].values()
    for share, exact in ((0.5, 500), (0.95, 950), (0.99, 990)):
        found = sums.percentile_ms(share)
        assert found is not None
        assert abs(found - exact) / exact < 0.1


def test_what_comes_is_counted_by_quarter_of_an_hour(rows: Rows, session: Session) -> None:
    rows.task(due_in=-5)
    rows.task(due_in=60)
    rows.task(due_in=100, priority=2)
    rows.task(due_in=1_000, state="retried")
    rows.task(due_in=100 * 86_400)
    found = upcoming.later(session, ["sample", "other"])
    assert [(each.state, each.step, each.count) for each in found] == [
        (TaskState.NEW, 0, 2),
        (TaskState.RETRIED, 1, 1),
        (TaskState.NEW, upcoming.STEPS, 1),
    ]
    assert found[0].first < found[0].last


def test_what_comes_soonest_is_told_first_and_types_by_name(rows: Rows, session: Session) -> None:
    for task_type, due_in in (("b", 5_000), ("a", 5_000), ("c", 60), ("a", 2_000)):
        rows.task(task_type=task_type, due_in=due_in)
    found = upcoming.later(session, ["a", "b", "c"])
    assert [each.task_type for each in found] == ["c", "a", "a", "b"]
    assert [each.step for each in found] == sorted(each.step for each in found)


def test_what_comes_for_ever_is_the_last_step(connection: Connection, rows: Rows, session: Session) -> None:
    task_id = rows.task()
    connection.execute(
        text("UPDATE fang_tasks SET scheduled_at = 'infinity' WHERE id = :id"), {"id": task_id}
    )
    assert [(each.step, each.count) for each in upcoming.later(session, ["sample"])] == [(upcoming.STEPS, 1)]


def test_the_oldest_of_each_type_is_found_whatever_its_priority(rows: Rows, session: Session) -> None:
    rows.task(due_in=-50)
    oldest = rows.task(due_in=-90, priority=-2)
    rows.task(due_in=-70, priority=2, state="retried")
    rows.task(due_in=50, task_type="later")
    rows.task(due_in=-1, task_type="other")
    rows.task(due_in=-900, state="finished")
    found = {
        each.task_type: each.oldest_due_at for each in oldest_waiting(session, ["sample", "later", "other"])
    }
    assert set(found) == {"sample", "other"}
    assert found["sample"] == rows.one(oldest).scheduled_at


def test_a_percentile_lies_in_the_middle_of_its_bucket() -> None:
    assert percentile({}, 0.5, None) is None
    assert percentile({0: 4}, 0.5, 0.0) == 0.5
    found = [percentile({1: 1, bucket(1000): 1}, share, 500) for share in (0.5, 0.51, 1)]
    low, high = (pytest.approx(value, rel=0.1) for value in (1, 1000))
    assert found == [low, high, high]


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.95, 0.99, 1]))
def test_no_percentile_of_the_highest_bucket_is_below_the_average(times: list[int], share: float) -> None:
    buckets, average = Counter(map(bucket, times)), sum(times) / len(times)
    found = percentile(buckets, share, average)
    exact = sorted(times)[math.ceil(share * len(times)) - 1]
    assert found is not None
    assert abs(found - exact) <= max(1, 0.1 * exact)
    if share == 1:
        assert found >= average * (1 - 1e-9)
