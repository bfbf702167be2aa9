"""What tests of every room use."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

Result = TypeVar("Result")


# On a machine that is busy with other things everything takes longer; a test that passes never waits for it.
PATIENCE = 3.0


def eventually(assertion: Callable[[], Result], timeout: float = 10.0) -> Result:
    """Call `assertion` until it raises nothing, and return what it returned.

    After `timeout` seconds (of an idle machine) its last failure is raised as it was.
    """
    deadline = time.monotonic() + timeout * PATIENCE
    pause = threading.Event()
    while True:
        try:
            return assertion()
        # What pytest.fail and pytest.raises raise is no Exception.
        except (Exception, pytest.fail.Exception):
            if time.monotonic() >= deadline:
                raise
        pause.wait(0.02)
