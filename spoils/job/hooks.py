"""Functions of the application that are called around each `run`."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from spoils.errors import JobDefinitionError
from spoils.job.base import Job, Queue

Call = Callable[[], Any]
"""Runs the functions registered later, then the job. Returns what they returned, and raises what they raised."""
Function = TypeVar("Function", bound=Callable[[Any, Any, Call], Any])

functions: list[Callable[[Any, Any, Call], Any]] = []
"""Around each plain `run`, in the order of registration."""
async_functions: list[Callable[[Any, Any, Call], Awaitable[Any]]] = []
"""Around each `async def run`."""
_NOT_CALLED = object()


def around(function: Function) -> Function:
    """Register `function(job, queue, call)`, which is called around each `run`; the first one registered is outermost.

    It must return what `call()` returns, or an Outcome of its own. It is part of the attempt: what it raises fails the
    attempt, and the job's timeout includes it. A function that is `async def` and returns `await call()` is called
    around each `async def run` instead, and a plain one around each plain `run`.

    Example:
        @spoils.around
        def trace(job, queue, call):
            with tracer.start_as_current_span(type(job).__name__):
                return call()
    """
    name = _name(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise JobDefinitionError(f"{name} yields, so that a call would execute none of it: call `call()`.")
    try:
        inspect.signature(function).bind(None, None, None)
    except TypeError as exc:
        raise JobDefinitionError(f"{name} must take three arguments: job, queue and call.") from exc
    (async_functions if inspect.iscoroutinefunction(function) else functions).append(function)
    return function


def run_with_hooks(
    job: Job, queue: Queue, around: Sequence[Callable[[Any, Any, Call], Any]] = functions
) -> object:
    """What the job's `run` returns, with these functions around it."""
    if not around:
        return job.run(queue)
    function, *others = around
    return _call_around(function, job, queue, partial(run_with_hooks, job, queue, others))


async def await_with_hooks(
    job: Job, queue: Queue, around: Sequence[Callable[[Any, Any, Call], Awaitable[Any]]] = async_functions
) -> object:
    """What the job's `async def run` returns, with these async functions around it."""
    if not around:
        returned: object = await cast(Awaitable[object], job.run(queue))
        return returned
    function, *others = around
    return await _await_around(function, job, queue, partial(await_with_hooks, job, queue, others))


def _call_around(function: Callable[[Any, Any, Call], Any], job: Job, queue: Queue, call: Call) -> object:
    returned: object = _NOT_CALLED

    def rest() -> object:
        nonlocal returned
        returned = call()
        return returned

    return _checked(function, function(job, queue, rest), returned)


async def _await_around(
    function: Callable[[Any, Any, Call], Awaitable[Any]], job: Job, queue: Queue, call: Call
) -> object:
    returned: object = _NOT_CALLED

    async def rest() -> object:
        nonlocal returned
        returned = await call()
        return returned

    return _checked(function, await function(job, queue, rest), returned)


def _checked(function: object, value: object, returned: object) -> object:
    if value is None and returned is not None:
        # None finishes the job: one that did not run, or that asked for something else, must not be finished.
        raise JobDefinitionError(
            f"{_name(function)} returned None, but the job did not: return what `call()` returned, "
            "or return an Outcome such as Snooze(60)."
        )
    return value


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
