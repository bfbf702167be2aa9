"""A process that is to end does so, whatever hangs in it."""

import subprocess
import sys

import pytest

from tests.programs import ROOT

LOCK = "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()"
INTERPRETER = "import ctypes; ctypes.PyDLL(None).sleep(600)"
PIPE = "import sys; [print('x' * 1000) for _ in range(1000)]"


@pytest.mark.parametrize(
    "hang", [LOCK, INTERPRETER, PIPE], ids=["a lock", "the interpreter's lock", "a pipe"]
)
def test_a_process_ends_whatever_hangs(hang: str) -> None:
    program = f"from spoils.worker import force_exit; force_exit.exit_within(0.2); {hang}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.wait(60) == 1
        finally:
            process.kill()
