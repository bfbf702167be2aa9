"""From what a job did to what is written."""

import math

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spoils.backoff import LONGEST_SECONDS
from spoils.job import Cancel, RetryLater, Snooze
from spoils.outcome import FINISHED, Ending, GivenBack, Report, Verdict
from spoils.worker import verdict
from spoils.worker.transient import is_transient
from tests.sample_jobs import BadBackoffJob, RaisingJob


@pytest.mark.parametrize("value", [None, 0, False, "done", object(), Snooze, Exception("returned")])
def test_what_returns_anything_but_an_outcome_has_finished(value: object) -> None:
    assert verdict.of_return(value) is FINISHED


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [(90, 90), (-1, 0), (math.inf, LONGEST_SECONDS), (math.nan, 60), ("soon", 60), (None, 60)],
)
def test_a_snooze_is_brought_into_bounds(seconds: float, delay: float) -> None:
    assert verdict.of_return(Snooze(seconds)) == Verdict(Ending.SNOOZED, delay)


def test_a_cancel_has_its_reason_storable() -> None:
    assert verdict.of_return(Cancel("no\0pe\ud800")) == Verdict(
        Ending.CANCELLED, report=Report("", "no\\x00pe\\ud800")
    )
    assert verdict.of_return(Cancel(5)).report == Report("", "5")  # type: ignore[arg-type]


@pytest.mark.parametrize(("retries", "seconds"), [(0, 60), (1, 120), (2, 240)])
def test_a_failure_is_retried_after_its_backoff_and_a_tenth_at_most(retries: int, seconds: float) -> None:
    found = verdict.of_failure(RaisingJob(), ValueError("boom"), retries)
    assert found.ending is Ending.RETRIED
    assert seconds <= found.delay_seconds <= seconds * 1.1
    assert found.report is not None
    assert found.report.message == "boom"


@pytest.mark.parametrize("error", [ValueError("boom"), RetryLater(5), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("retries", [3, 4, 1000])
def test_a_failure_with_no_retries_left_is_final(error: BaseException, retries: int) -> None:
    assert verdict.of_failure(RaisingJob(), error, retries).ending is Ending.FAILED


@pytest.mark.parametrize(
    ("asked", "delay"), [(1234, 1234), (-5, 0), (1e308, LONGEST_SECONDS), (math.nan, 60)]
)
def test_retry_later_decides_the_delay(asked: float, delay: float) -> None:
    found = verdict.of_failure(RaisingJob(), RetryLater(asked), 0)
    assert found.ending is Ending.RETRIED
    assert delay <= found.delay_seconds <= min(delay * 1.1, LONGEST_SECONDS)


@pytest.mark.parametrize(
    ("how", "seconds"), [("raise", 60), ("nan", 60), ("negative", 0), ("huge", LONGEST_SECONDS)]
)
def test_a_broken_backoff_is_an_outcome_all_the_same(how: str, seconds: float) -> None:
    found = verdict.of_failure(BadBackoffJob(how=how), ValueError("boom"), 0)
    assert found.ending is Ending.RETRIED
    assert seconds <= found.delay_seconds <= min(seconds * 1.1, LONGEST_SECONDS)
    assert found.report is not None
    assert ("Its backoff raised ZeroDivisionError" in (found.report.traceback or "")) is (how == "raise")


def test_a_thousand_failures_do_not_come_back_as_one() -> None:
    delays = {verdict.of_failure(RaisingJob(), ValueError(), 0).delay_seconds for _ in range(100)}
    assert len(delays) > 90


def test_a_misfit_is_failed_at_once() -> None:
    assert verdict.of_misfit("No such class.") == Verdict(Ending.FAILED, report=Report("", "No such class."))


def test_what_the_stopping_worker_asked_for_is_given_back_uncounted() -> None:
    assert verdict.of_failure(RaisingJob(), GivenBack(), 0) == Verdict(Ending.RELEASED)


@pytest.mark.parametrize(
    ("error", "ending"),
    [(PoolTimeout(), Ending.RELEASED), (ValueError("boom"), Ending.FAILED), (SystemExit(), Ending.FAILED)],
)
def test_a_breakdown_of_the_worker_s_own_is_final_unless_it_was_the_database_s(
    error: BaseException, ending: Ending
) -> None:
    found = verdict.of_breakdown(error)
    assert found.ending is ending
    assert found.report is not None
    assert found.report.error_class == type(error).__name__


@pytest.mark.parametrize(
    ("uncounted", "ending"), [(0, Ending.RELEASED), (4, Ending.RELEASED), (5, Ending.RETRIED)]
)
def test_a_trouble_of_the_database_s_counts_from_the_sixth_time(uncounted: int, ending: Ending) -> None:
    assert verdict.of_failure(RaisingJob(), PoolTimeout(), 0, uncounted).ending is ending


def test_what_cannot_be_connected_to_is_a_trouble_of_the_database_s() -> None:
    nowhere = create_engine("postgresql+psycopg2://postgres@/none?host=/nowhere")
    with pytest.raises(OperationalError) as refused, nowhere.connect():
        pass
    assert is_transient(refused.value)
