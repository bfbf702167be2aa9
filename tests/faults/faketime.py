"""A library between a program and the clock of its machine."""

import os
import shutil
from pathlib import Path

import pytest

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def find_library() -> str:
    """Its path. Without it the test is skipped, in CI it fails."""
    if LIBRARY is None or shutil.which("faketime") is None:
        if os.environ.get("CI"):
            pytest.fail("faketime is not installed.")
        pytest.skip("faketime is not installed.")
    return str(LIBRARY)


def faked(library: str) -> dict[str, str]:
    """The environment of a program whose time of day is another, but not its elapsed time."""
    return {"LD_PRELOAD": library, "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
