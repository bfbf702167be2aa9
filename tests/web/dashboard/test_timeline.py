"""The timeline of a job is to scale: earlier is further left, longer is wider, nothing leaves the drawing."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from spoils.models import Attempt, Task, TaskState
from spoils.web.dashboard.jobs.timeline import DRAWN, Timeline, draw_timeline

NOW = datetime(2026, 11, 24, 14, 32, 9, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def task(state: TaskState = TaskState.RETRIED, **columns: object) -> Task:
    values = {
        "created_at": ago(300),
        "updated_at": ago(60),
        "scheduled_at": ago(-120),
        "attempts": 2,
        **columns,
    }
    return Task(id=uuid4(), state=state, **values)


def attempt(number: int, begin: float, ran: float, outcome: str = "retried") -> Attempt:
    return Attempt(
        attempt=number,
        outcome=outcome,
        claimed_at=ago(begin),
        ended_at=ago(begin - ran),
        ran_ms=round(ran * 1_000),
    )


def drawn(task: Task, *ended: Attempt) -> Timeline:
    timeline = draw_timeline(task, ended, NOW)
    assert timeline is not None
    for x in (
        timeline.begin,
        timeline.now,
        *(span.x + span.width for span in timeline.spans),
        *(mark.at for mark in timeline.marks),
    ):
        assert 0 <= x <= 100
    return timeline


def test_what_waits_for_its_next_attempt() -> None:
    timeline = drawn(task(), attempt(2, 200, 10), attempt(1, 280, 0.4))
    first, second = timeline.spans
    assert timeline.begin < first.x < second.x < timeline.now < (timeline.due or 0)
    assert second.width > first.width
    assert (first.title, first.words, first.state) == ("Attempt 1", "ran 400 ms", "failed")
    assert timeline.sentence.endswith("attempt 2 failed after 10.00 s; due in 2 min.")
    assert not timeline.ends


def test_what_runs_reaches_to_now() -> None:
    timeline = drawn(task(TaskState.IN_PROGRESS, claimed_at=ago(30), scheduled_at=ago(40)))
    assert timeline.spans[0].x + timeline.spans[0].width == pytest.approx(timeline.now, abs=0.1)
    assert timeline.due is None
    assert timeline.now_mark is not None


def test_what_has_ended_has_no_future() -> None:
    timeline = drawn(
        task(TaskState.FINISHED, claimed_at=ago(61), scheduled_at=ago(70)), attempt(1, 100, 1, "released")
    )
    assert [span.state for span in timeline.spans] == ["new", "finished"]
    assert (timeline.ends, timeline.due, timeline.now_mark) == (True, None, None)


def test_what_is_new_at_this_moment_is_drawn_too() -> None:
    assert drawn(task(TaskState.NEW, created_at=NOW, updated_at=NOW, scheduled_at=NOW)).spans == ()


def test_of_many_attempts_the_last_ones_are_drawn() -> None:
    ended = [attempt(number, 280 - number, 0.5) for number in range(100, 0, -1)]
    assert [span.title for span in drawn(task(), *ended).spans][-1] == "Attempt 100"
    assert len(drawn(task(), *ended).spans) == DRAWN


def test_labels_of_attempts_do_not_cover_each_other() -> None:
    near = drawn(task(), *(attempt(number, 100 - 10 * number, 0.5) for number in (4, 3, 2, 1)))
    assert near.labelled == {2, 3}
    apart = drawn(task(), attempt(2, 100, 0.5), attempt(1, 280, 0.5))
    assert apart.labelled == {0, 1}


@pytest.mark.parametrize("moment", [datetime.max.replace(tzinfo=UTC), datetime(5000, 1, 1, tzinfo=UTC)])
def test_a_moment_beyond_all_bounds_is_no_error(moment: datetime) -> None:
    draw_timeline(task(TaskState.NEW, scheduled_at=moment), (), NOW)
    draw_timeline(task(TaskState.FINISHED, created_at=datetime.min.replace(tzinfo=UTC)), (), NOW)


@pytest.mark.parametrize("column", ["claimed_at", "updated_at"])
def test_a_run_that_begins_after_now_does_not_leave_the_drawing(column: str) -> None:
    timeline = drawn(task(TaskState.IN_PROGRESS, scheduled_at=ago(80), **{column: NOW.replace(year=9999)}))
    assert timeline.spans[0].words == "ran 0 ms"
