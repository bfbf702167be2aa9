"""Functions around each `run`: their order, what they may return, and what is refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import spoils
from spoils.errors import JobDefinitionError
from spoils.job import Cancel, Done, Job, Outcome, Queue, Snooze
from spoils.job.hooks import await_with_hooks, run_with_hooks
from tests.sample_jobs import RaisingJob, ResultJob, SampleJob
from tests.support import in_thread

NO_QUEUE: Any = object()


def test_without_functions_the_job_runs_alone() -> None:
    assert run_with_hooks(SampleJob(), NO_QUEUE) is None
    assert run_with_hooks(ResultJob(value=5), NO_QUEUE) == Done(5)


def test_several_stack_in_the_order_of_their_registration_and_get_the_job_and_its_queue() -> None:
    steps: list[object] = []

    def registered(name: str) -> None:
        @spoils.around
        def function(job: Job, queue: Queue, call: Callable[[], Any]) -> Any:
            assert queue is NO_QUEUE
            steps.append((f"before {name}", job))
            returned = call()
            steps.append((f"after {name}", returned))
            return returned

    registered("outer")
    registered("inner")
    job = ResultJob(value=5)
    assert run_with_hooks(job, NO_QUEUE) == Done(5)
    assert steps == [
        ("before outer", job),
        ("before inner", job),
        ("after inner", Done(5)),
        ("after outer", Done(5)),
    ]


def test_what_the_job_raises_passes_through_and_a_function_may_raise_itself() -> None:
    seen: list[str] = []

    @spoils.around
    def watch(job: Job, queue: Queue, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except ValueError as exc:
            seen.append(str(exc))
            raise

    with pytest.raises(ValueError, match="boom ValueError"):
        run_with_hooks(RaisingJob(), NO_QUEUE)
    assert seen == ["boom ValueError"]

    @spoils.around
    def refuse(job: Job, queue: Queue, call: Callable[[], Any]) -> Any:
        raise LookupError("no tenant")

    with pytest.raises(LookupError, match="no tenant"):
        run_with_hooks(SampleJob(), NO_QUEUE)


@pytest.mark.parametrize("outcome", [Snooze(60), Cancel("switched off"), Done(1)])
def test_a_function_may_return_an_outcome_without_calling_the_job(outcome: Outcome) -> None:
    @spoils.around
    def switched_off(job: Job, queue: Queue, call: Callable[[], Any]) -> Any:
        return outcome

    assert run_with_hooks(RaisingJob(), NO_QUEUE) is outcome


@pytest.mark.parametrize(
    "forgets",
    [lambda call: None, lambda call: call() and None, lambda call: _swallowing(call)],
    ids=["to call", "to return", "what was raised"],
)
@pytest.mark.parametrize("job", [RaisingJob(what="snooze"), RaisingJob(what="cancel")])
def test_a_function_that_returns_none_where_the_job_did_not_fails_the_attempt(
    job: Job, forgets: Callable[[Any], None]
) -> None:
    @spoils.around
    def forgetful(job: Job, queue: Queue, call: Callable[[], Any]) -> None:
        return forgets(call)

    with pytest.raises(JobDefinitionError, match="forgetful returned None, but the job did not"):
        run_with_hooks(job, NO_QUEUE)


def _swallowing(call: Callable[[], Any]) -> None:
    try:
        raise call()
    except Exception:  # noqa: BLE001 - that is what it is for
        pass


def test_the_function_stays_what_it_was() -> None:
    def function(job: Job, queue: Queue, call: Callable[[], Any]) -> Any:
        return call()

    assert spoils.around(function) is function


def test_async_functions_are_called_around_async_jobs_and_plain_ones_around_plain_jobs() -> None:
    steps: list[str] = []

    @spoils.around
    async def watch(job: Job, queue: Queue, call: Callable[[], Any]) -> Any:
        steps.append("before")
        returned = await call()
        steps.append(f"after {returned}")
        return returned

    @spoils.around
    def plain(job: Job, queue: Queue, call: Callable[[], Any]) -> Any:
        steps.append("plain")
        return call()

    class AwaitedJob(Job):
        async def run(self, queue: Queue) -> Outcome:
            steps.append("run")
            await asyncio.sleep(0)
            return Snooze(60)

    async def forgetful(job: Job, queue: Queue, call: Callable[[], Any]) -> None:
        await call()

    assert in_thread(lambda: asyncio.run(await_with_hooks(AwaitedJob(), NO_QUEUE))) == Snooze(60)
    assert steps == ["before", "run", f"after {Snooze(60)}"]
    assert run_with_hooks(SampleJob(), NO_QUEUE) is None
    assert steps[3:] == ["plain"]
    spoils.around(forgetful)
    with pytest.raises(JobDefinitionError, match="forgetful returned None, but the job did not"):
        in_thread(lambda: asyncio.run(await_with_hooks(AwaitedJob(), NO_QUEUE)))


def _yields(job: Job, queue: Queue, call: Any) -> Any:
    yield


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (_yields, "_yields yields"),
        (lambda job, call: call(), "must take three arguments: job, queue and call"),
    ],
)
def test_a_function_that_could_not_be_called_is_refused_when_it_is_registered(
    function: Any, sentence: str
) -> None:
    with pytest.raises(JobDefinitionError, match=sentence):
        spoils.around(function)
