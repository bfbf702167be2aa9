"""What a job reports on itself: its progress and its log lines, stored with the heartbeat."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from spoils.job import Job, Queue
from spoils.job.output import LONGEST_LINE, MOST_LINES
from spoils.queue.outputs import write_outputs
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.worker.performing import Hands

STORED = "SELECT attempt, done, total, note, lines FROM spoils_outputs"


class ReportingJob(Job):
    """Reports, calls `during`, and fails if it is to."""

    fails: bool = False

    def run(self, queue: Queue) -> None:
        queue.progress(100)
        queue.progress(300, of=1000, note="page 3, password=hunter2")
        queue.log("fetched https://ann:hunter2@shop.example/")
        during()
        queue.log("50 % done")
        if self.fails:
            raise ValueError("after the report")


class AsyncReportingJob(ReportingJob):
    task_type = "async_report"

    async def run(self, queue: Queue) -> None:  # type: ignore[override]
        super().run(queue)


class KeptReportingJob(ReportingJob):
    task_type = "kept_report"
    keep_log = True


def nothing() -> None: ...


during: Callable[[], Any] = nothing


@pytest.fixture
def flush(hands: Hands, connection: Connection) -> Iterator[Callable[[], None]]:
    """Store what a heartbeat would store now; a job may do it while it runs."""
    yield lambda: write_outputs(connection, hands.performer.take_outputs(100))
    globals()["during"] = nothing


def meanwhile(function: Callable[[], Any]) -> None:
    globals()["during"] = function


def texts(rows: Rows) -> list[str]:
    (lines,) = [row[4] for row in rows.all(STORED)]
    return [text for _, text in lines]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_progress_and_lines_are_stored_while_the_job_runs_with_secrets_masked(
    hands: Hands, flush: Callable[[], None], rows: Rows, *, asynchronous: bool
) -> None:
    seen: list[tuple[Any, ...]] = []

    def store_and_read() -> None:
        flush()
        seen.extend(rows.all(STORED))
        assert hands.performer.take_outputs(100) == [], "nothing has changed since"

    meanwhile(store_and_read)
    if asynchronous:
        hands.perform_async(AsyncReportingJob(fails=True))
    else:
        hands.perform(ReportingJob(fails=True))
    ((attempt, done, total, note, lines),) = seen
    assert (attempt, done, total) == (1, 300, 1000)
    assert note.startswith("page 3")
    assert len(lines) == 1
    assert "hunter2" not in f"{note} {lines}"
    flush()
    assert texts(rows)[1:] == ["50 % done"], "the end of an attempt that failed is stored too"


@pytest.mark.parametrize(("job", "kept"), [(ReportingJob(), 0), (KeptReportingJob(), 2)])
def test_the_output_of_an_attempt_that_finished_is_kept_where_the_class_says_so(
    hands: Hands, flush: Callable[[], None], rows: Rows, job: Job, kept: int
) -> None:
    meanwhile(flush)
    hands.perform(job)
    flush()
    assert [len(row[4]) for row in rows.all(STORED)] == ([kept] if kept else [])


def test_the_output_of_a_rescued_attempt_stays_although_its_job_finishes_after_all(
    hands: Hands, flush: Callable[[], None], rows: Rows
) -> None:
    meanwhile(flush)
    claim = hands.perform(ReportingJob())
    rows.attempt(claim.id, 1, "crashed")
    flush()
    assert len(rows.all(STORED)) == 1


def test_the_last_lines_are_kept_each_of_a_bounded_length(
    hands: Hands, flush: Callable[[], None], rows: Rows
) -> None:
    class LongLogJob(Job):
        def run(self, queue: Queue) -> None:
            for number in range(MOST_LINES + 5):
                queue.log(f"line {number}")
            queue.log("x" * (LONGEST_LINE + 1) + "\0")
            raise ValueError

    hands.perform(LongLogJob())
    flush()
    lines = texts(rows)
    assert len(lines) == MOST_LINES
    assert lines[-2:] == [f"line {MOST_LINES + 4}", "x" * LONGEST_LINE + " … (1,002 characters)"]


@pytest.mark.parametrize("numbers", [(-1, None), (1, float("nan")), (float("inf"), 2)])
def test_a_number_that_is_no_progress_fails_the_attempt(hands: Hands, numbers: tuple[float, Any]) -> None:
    class WrongProgressJob(Job):
        def run(self, queue: Queue) -> None:
            queue.progress(numbers[0], of=numbers[1])

    hands.perform(WrongProgressJob())
    report = hands.settlement.verdict.report
    assert report is not None
    assert report.message == "The numbers of queue.progress must be finite and not negative."


def test_a_job_that_reports_nothing_makes_no_object_and_no_statement(hands: Hands, engine: Engine) -> None:
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    made = []
    register = hands.performer._register
    hands.performer._register = lambda attempt: (made.append(attempt), register(attempt))[1]  # type: ignore[method-assign]
    hands.perform(SampleJob())
    (attempt,) = made
    assert "output" not in vars(attempt)
    assert hands.performer.take_outputs(100) == []
    assert not any("spoils_outputs" in each for each in statements)
