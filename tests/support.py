"""The one way in which tests wait."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

Result = TypeVar("Result")


# On a busy machine everything takes longer; a test that passes never waits for it.
PATIENCE = 3.0


def eventually(question: Callable[[], Result], timeout: float = 10.0, *, every: float = 0.02) -> Result:
    """Call `question` until it neither raises nor returns False, and return what it returned.

    After `timeout` seconds (of an idle machine) its last failure is raised as it was.
    """
    deadline = time.monotonic() + timeout * PATIENCE
    pause = threading.Event()
    while True:
        try:
            answer = question()
            if answer is not False:
                return answer
            if time.monotonic() >= deadline:
                raise AssertionError(f"It did not come true within {timeout * PATIENCE:.0f} s.")
        # What pytest.fail and pytest.raises raise is no Exception.
        except (Exception, pytest.fail.Exception):
            if time.monotonic() >= deadline:
                raise
        pause.wait(every)


def in_thread(function: Callable[[], Result]) -> Result:
    """Call `function` in a thread of its own: Playwright leaves an event loop running in the tests' thread."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(function).result()
