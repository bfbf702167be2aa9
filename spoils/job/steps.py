"""Steps: what a job does once for its task, whatever becomes of the attempt.

They are called here and not in the worker, whose functions a job's interruption must not end.
"""

import inspect
import json
import time
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from spoils.errors import PayloadError
from spoils.job import wire

LARGEST_RESULT = 64 * 1024
"""Bytes of a result as JSON text."""
LONGEST_NAME = 200


class StepCalls:
    """The steps of one attempt; a subclass stores them."""

    job: BaseModel
    # Of the class, since most jobs have no steps.
    _steps: dict[str, str] | None = None
    _steps_run: dict[str, Any] | None = None

    @property
    def steps_run(self) -> dict[str, Any]:
        """What this attempt has done itself."""
        return self._steps_run or {}

    @property
    def _job(self) -> str:
        return type(self.job).__name__

    def read_steps(self) -> dict[str, str]:
        """The results of earlier attempts, as JSON texts, by the names of the steps."""
        raise NotImplementedError

    def write_step(self, name: str, result: str, ran_ms: int) -> None:
        """Commit the result of a step."""
        raise NotImplementedError

    def step(self, name: str, function: Callable[[], Any], /) -> Any:
        """Implements `Queue.step`."""
        self._check_name(name)
        if self._steps is None:
            self._steps = self.read_steps()
        if name in self._steps:
            return json.loads(self._steps[name])
        started = time.monotonic()
        value = function()
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()  # or Python warns that nobody awaited it
            raise PayloadError(
                f'Step "{name}" of {self._job} is asynchronous, and only an `async def run` can await it.'
            )
        text = self._text(name, value)
        self.write_step(name, text, ms_since(started))
        return self._done(name, text)

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise PayloadError(
                f"The name of a step of {self._job} must be 1 to {LONGEST_NAME} printable characters."
            )

    def _text(self, name: str, value: object) -> str:
        try:
            text = wire.canonical(value, "result")
        except PayloadError as exc:
            raise PayloadError(f'Step "{name}" of {self._job} returned what cannot be kept: {exc}') from exc
        if len(text.encode()) > LARGEST_RESULT:
            raise PayloadError(
                f'The result of step "{name}" of {self._job} is larger than 64 KiB: keep it elsewhere, and return '
                "where."
            )
        return text

    def _done(self, name: str, text: str) -> Any:
        """The result as a later attempt gets it."""
        assert self._steps is not None  # noqa: S101 - for the type checker
        self._steps[name] = text
        self._steps_run = {**self.steps_run, name: json.loads(text)}
        return json.loads(text)


def ms_since(started: float) -> int:
    """How long ago that moment of the monotonic clock was."""
    return round((time.monotonic() - started) * 1000)
