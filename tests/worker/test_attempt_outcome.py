"""From what a job did to what is written."""

import gc
import json
import math
from asyncio import Future, new_event_loop
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spoils.errors import PayloadError
from spoils.job import Cancel, Done, Outcome, RetryLater, Snooze
from spoils.job.backoff import LONGEST_SECONDS
from spoils.job.outcome import FINISHED, Ending, GivenBack, Report, Verdict
from spoils.worker import attempt_outcome as outcomes
from spoils.worker.transient import is_transient
from tests.sample_jobs import BadBackoffJob, RaisingJob, Unprintable

ANYTHING = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.none())
    | st.dictionaries(st.text(), st.none())
    | st.sampled_from(
        [
            Snooze,
            Cancel,
            RetryLater,
            type,
            print,
            object(),
            NotImplemented,
            ...,
            ValueError("x"),
            SystemExit(0),
        ]
    )
)


def asynchronous() -> Coroutine[Any, Any, None]:
    async def run() -> None:
        raise AssertionError

    return run()


def generator() -> Iterator[None]:
    raise AssertionError
    yield


async def asynchronous_generator() -> AsyncIterator[None]:
    raise AssertionError
    yield


def a_future() -> Future[None]:
    loop = new_event_loop()
    loop.close()
    return Future(loop=loop)


def test_a_job_has_finished_where_it_returned_none() -> None:
    assert outcomes.of_return(RaisingJob(), None, 0) is FINISHED


@given(ANYTHING, st.integers(0, 5))
def test_a_job_that_returned_anything_else_has_failed_and_says_so(value: object, retries: int) -> None:
    found = outcomes.of_return(RaisingJob(), value, retries)
    assert found.ending is (Ending.RETRIED if retries < RaisingJob.max_retries else Ending.FAILED)
    assert found.report is not None
    assert found.report.error_class == "JobDefinitionError"
    assert found.report.message.startswith("RaisingJob.run returned ")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (asynchronous, "a coroutine that nothing awaits"),
        (a_future, "a Future that nothing awaits"),
        (generator, "a generator, of which nothing was executed"),
        (asynchronous_generator, "a generator, of which nothing was executed"),
        (lambda: Snooze, "the class Snooze: return an instance, as in Snooze(60)"),
        (lambda: ValueError("secret"), "returned ValueError: raise it"),
        (lambda: "secret", "a value of type str: return None when it is done"),
    ],
)
def test_the_failure_names_what_was_returned_and_the_mend(make: Callable[[], object], words: str) -> None:
    found = outcomes.of_return(RaisingJob(), make(), 0)
    gc.collect()  # a coroutine that was not closed warns here
    assert found.report is not None
    assert words in found.report.message
    assert "secret" not in found.report.message


@pytest.mark.parametrize(
    "outcome", [Snooze(90), Cancel("why"), RetryLater(90, "busy"), RetryLater(90)], ids=repr
)
@pytest.mark.parametrize("retries", [0, 3])
def test_an_outcome_has_one_effect_returned_or_raised(outcome: Outcome, retries: int) -> None:
    returned = outcomes.of_return(RaisingJob(), outcome, retries)
    raised = outcomes.of_failure(RaisingJob(), outcome, retries)
    assert returned.ending is raised.ending
    assert returned.report == raised.report
    waits = not isinstance(outcome, Cancel) and returned.ending is not Ending.FAILED
    for found in (returned, raised):
        assert (90 <= found.delay_seconds <= 99) if waits else found.delay_seconds == 0


def test_outcomes_are_values_too() -> None:
    assert Snooze(5) == Snooze(seconds=5) != Snooze(6)
    assert Cancel("a") == Cancel(reason="a") != Cancel("b")
    assert RetryLater(5, "a") == RetryLater(5, message="a") != RetryLater(5)
    assert {Snooze(5), Snooze(5)} == {Snooze(5)}
    assert str(RetryLater(5)) == "Asked to try again in 5 s."


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [(90, 90), (-1, 0), (math.inf, LONGEST_SECONDS), (math.nan, 60), ("soon", 60), (None, 60)],
)
def test_a_snooze_is_brought_into_bounds(seconds: float, delay: float) -> None:
    assert outcomes.of_return(RaisingJob(), Snooze(seconds), 0) == Verdict(Ending.SNOOZED, delay)


def test_a_cancel_has_its_reason_storable() -> None:
    assert outcomes.of_return(RaisingJob(), Cancel("no\0pe\ud800"), 0) == Verdict(
        Ending.CANCELLED, report=Report("", "no\\x00pe\\ud800")
    )
    assert outcomes.of_return(RaisingJob(), Cancel(5), 0).report == Report("", "5")  # type: ignore[arg-type]
    for reason in (Unprintable(), ValueError("a\0b")):
        textless = outcomes.of_return(RaisingJob(), Cancel(reason), 0)  # type: ignore[arg-type]
        assert textless.ending is Ending.CANCELLED


@pytest.mark.parametrize(("retries", "seconds"), [(0, 60), (1, 120), (2, 240)])
def test_a_failure_is_retried_after_its_backoff_and_a_tenth_at_most(retries: int, seconds: float) -> None:
    found = outcomes.of_failure(RaisingJob(), ValueError("boom"), retries)
    assert found.ending is Ending.RETRIED
    assert seconds <= found.delay_seconds <= seconds * 1.1
    assert found.report is not None
    assert found.report.message == "boom"


@pytest.mark.parametrize("error", [ValueError("boom"), RetryLater(5), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("retries", [3, 4, 1000])
def test_a_failure_with_no_retries_left_is_final(error: BaseException, retries: int) -> None:
    assert outcomes.of_failure(RaisingJob(), error, retries).ending is Ending.FAILED


@pytest.mark.parametrize(
    ("asked", "delay"),
    [(1234, 1234), (-5, 0), (1e308, LONGEST_SECONDS), (math.nan, 60), ("soon", 60), (None, 60)],
)
def test_retry_later_decides_the_delay(asked: float, delay: float) -> None:
    found = outcomes.of_failure(RaisingJob(), RetryLater(asked), 0)
    assert found.ending is Ending.RETRIED
    assert delay <= found.delay_seconds <= min(delay * 1.1, LONGEST_SECONDS)


@pytest.mark.parametrize(
    ("how", "seconds"), [("raise", 60), ("nan", 60), ("negative", 0), ("huge", LONGEST_SECONDS)]
)
def test_a_broken_backoff_is_an_outcome_all_the_same(how: str, seconds: float) -> None:
    found = outcomes.of_failure(BadBackoffJob(how=how), ValueError("boom"), 0)
    assert found.ending is Ending.RETRIED
    assert seconds <= found.delay_seconds <= min(seconds * 1.1, LONGEST_SECONDS)
    assert found.report is not None
    assert ("Its backoff raised ZeroDivisionError" in (found.report.traceback or "")) is (how == "raise")


def test_a_thousand_failures_do_not_come_back_as_one() -> None:
    delays = {outcomes.of_failure(RaisingJob(), ValueError(), 0).delay_seconds for _ in range(100)}
    assert len(delays) > 90


def test_a_misfit_is_failed_at_once_and_may_be_left_to_others_instead() -> None:
    failure = outcomes.of_misfit(PayloadError("No such field."))
    assert failure == Verdict(Ending.FAILED, report=Report("", "No such field."))
    for attempts, least, most in ((1, 1, 3), (5, 5, 15), (1_000_000, 10, 30)):
        left = outcomes.left_to_others(failure, attempts)
        assert (left.ending, left.report) == (Ending.RELEASED, failure.report)
        assert least <= left.delay_seconds <= most
    broken = outcomes.of_misfit(KeyError("x"))
    assert broken.report is not None
    assert broken.report.error_class == "KeyError"
    left = outcomes.left_to_others(broken, 1)
    assert left.report == Report("", broken.report.message)  # which counts as no failure of the database


def test_what_the_stopping_worker_asked_for_is_given_back_uncounted() -> None:
    assert outcomes.of_failure(RaisingJob(), GivenBack(), 0) == Verdict(Ending.RELEASED)


@pytest.mark.parametrize(
    ("error", "ending"),
    [(PoolTimeout(), Ending.RELEASED), (ValueError("boom"), Ending.FAILED), (SystemExit(), Ending.FAILED)],
)
def test_a_breakdown_of_the_worker_s_own_is_final_unless_it_was_the_database_s(
    error: BaseException, ending: Ending
) -> None:
    found = outcomes.of_breakdown(error)
    assert found.ending is ending
    assert found.report is not None
    assert found.report.error_class == type(error).__name__


@pytest.mark.parametrize(
    ("uncounted", "ending"), [(0, Ending.RELEASED), (4, Ending.RELEASED), (5, Ending.RETRIED)]
)
def test_a_trouble_of_the_database_s_counts_from_the_sixth_time(uncounted: int, ending: Ending) -> None:
    assert outcomes.of_failure(RaisingJob(), PoolTimeout(), 0, uncounted).ending is ending


def test_what_cannot_be_connected_to_is_a_trouble_of_the_database_s() -> None:
    nowhere = create_engine("postgresql+psycopg2://postgres@/none?host=/nowhere")
    with pytest.raises(OperationalError) as refused, nowhere.connect():
        pass
    assert is_transient(refused.value)


@pytest.mark.parametrize("value", [{"receipt": 7}, ["a", None], "text", 1.5, 0, True, None, "x" * 65_534])
def test_a_result_is_kept_with_the_finished_job(value: object) -> None:
    job = RaisingJob()
    for verdict in (outcomes.of_return(job, Done(value), 0), outcomes.of_failure(job, Done(value), 0)):
        assert verdict.ending is Ending.FINISHED
        assert json.loads(verdict.result or "") == value


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("x" * 65_535, "larger than 64 KiB"),
        (object(), "has no JSON form"),
        ({1, 2}, "has no JSON form"),
        (math.nan, "a number that cannot be stored"),
        ("\0", "a NUL character"),
        ("\ud800", "half a character"),
    ],
)
def test_a_result_that_cannot_be_kept_fails_the_attempt_and_says_why(value: object, sentence: str) -> None:
    verdict = outcomes.of_return(RaisingJob(), Done(value), 0)
    assert (verdict.ending, verdict.result) == (Ending.RETRIED, None)
    assert verdict.report is not None
    assert sentence in verdict.report.message
    assert "payload" not in verdict.report.message
