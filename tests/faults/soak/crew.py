"""The worker processes of a soak: under one parent, or each for itself and started again at once."""

import threading
from contextlib import ExitStack

from tests.programs import Program, start_worker


class Family:
    """One program whose parent keeps its children alive, with pauses after early deaths."""

    def __init__(self, stack: ExitStack, processes: int, **environment: str) -> None:
        self._parent = stack.enter_context(start_worker(WORKER_PROCESSES=str(processes), **environment))

    @property
    def output(self) -> str:
        return self._parent.output

    def code_of(self, pid: int, timeout: float) -> int | None:
        """The exit code of a process that was asked to end; None where only its parent knows."""
        return None


class Crowd:
    """So many programs, each with one process; one that ends is replaced at once, whatever ended it."""

    def __init__(self, stack: ExitStack, processes: int, **environment: str) -> None:
        self._environment = environment
        self._codes: dict[int, int] = {}
        self._ended = threading.Condition()
        self._said = ""
        self._programs = [self._start() for _ in range(processes)]
        self._enough = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()
        stack.callback(self._close)

    @property
    def output(self) -> str:
        return "\n".join([self._said, *(program.output for program in self._programs)])

    def code_of(self, pid: int, timeout: float) -> int | None:
        """The exit code of a process that was asked to end. Raises AssertionError where it has not by then."""
        with self._ended:
            assert self._ended.wait_for(lambda: pid in self._codes, timeout), (
                f"a worker has not ended {timeout:.0f} s after it was asked to"
            )
            return self._codes[pid]

    def _start(self) -> Program:
        return start_worker(WORKER_PROCESSES="1", **self._environment)

    def _keep(self) -> None:
        while not self._enough.wait(0.1):
            for place, program in enumerate(self._programs):
                code = program.process.poll()
                if code is None:
                    continue
                program.__exit__(None, None, None)
                with self._ended:
                    self._said += f"{program.output}\n"
                    self._codes[program.process.pid] = code
                    self._ended.notify_all()
                self._programs[place] = self._start()

    def _close(self) -> None:
        self._enough.set()
        self._keeper.join(60)
        for program in self._programs:
            program.__exit__(None, None, None)
