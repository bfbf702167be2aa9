"""Worker processes under one parent: restarted when they die, replaced when they are recycled, stopped together."""

import logging
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

REGISTERED, RECYCLED = b"!", b"r"
"""What a child writes to its socket: other workers can see it, or it claims nothing more and is to be replaced."""

log = logging.getLogger("spoils.worker")

CHECK_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
GRACE_SECONDS = 4.0
"""How long beyond its own shutdown time a child may take before it is killed."""
PARENT_OPTION = "--parent-fd"


class WorkerProcesses:
    """Keeps `processes` children of the same command alive. `run()` blocks until a signal."""

    def __init__(self, *, processes: int, command: Sequence[str], shutdown_seconds: float) -> None:
        self._command = command
        self._shutdown_seconds = shutdown_seconds
        self._children = [_Child(number) for number in range(1, processes + 1)]
        self._recycled: list[_Child] = []  # which finish what they have in hand
        self._stopping = False
        self._wake_reader, self._wake_writer = os.pipe()

    def run(self) -> int:
        """Start the children, replace those that die or are recycled, stop them all. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, self._on_child)
        while not self._stopping:
            self._replace_recycled()
            for child in self._children:
                self._restart_if_dead(child)
            heard, _, _ = select.select([self._wake_reader], [], [], CHECK_SECONDS)
            if heard:
                os.read(self._wake_reader, 4096)
        return self._stop()

    def is_ready(self) -> bool:
        """Whether each process runs and has registered."""
        return not self._stopping and all(child.is_registered for child in self._children)

    def _replace_recycled(self) -> None:
        """Start the next process while the last one finishes its jobs."""
        for place, child in enumerate(self._children):
            if child.is_recycled:
                self._recycled.append(child)
                self._children[place] = _Child(child.number)
                log.info("Worker process %d is recycled", child.number, extra={"action": "recycle"})
        self._recycled = [child for child in self._recycled if child.process and child.process.poll() is None]

    def _restart_if_dead(self, child: "_Child") -> None:
        now = time.monotonic()
        if child.process is not None and (code := child.process.poll()) is not None:
            child.died(now)
            log.error(
                "Worker process %d exited with code %d and restarts in %.0f s",
                child.number,
                code,
                max(0.0, child.next_start - now),
                extra={"action": "restart"},
            )
        if child.process is None and now >= child.next_start:
            # A signal that comes between the two lines is seen in the next round.
            child.start(self._command)

    def _stop(self) -> int:
        """Pass the signal on once, and wait."""
        alive = [child.process for child in (*self._children, *self._recycled) if child.process]
        for process in alive:
            process.terminate()
        deadline = time.monotonic() + self._shutdown_seconds + GRACE_SECONDS
        codes = []
        for process in alive:
            try:
                codes.append(process.wait(max(0.0, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(process.wait())
        # Python removes its handlers while it exits; another signal would then kill the process instead of exit 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        # A child that was still starting had no signal handler yet.
        return 0 if all(code in (0, -signal.SIGTERM) for code in codes) else 1

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        os.write(self._wake_writer, b"!")

    def _on_child(self, _number: int, _frame: FrameType | None) -> None:
        os.write(self._wake_writer, b".")


class _Child:
    """One child, and how often in a row it ended before its worker had registered."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.next_start = 0.0
        self._early_deaths = 0
        self._socket: socket.socket | None = None
        self._heard = b""  # what this process has written

    def start(self, command: Sequence[str]) -> None:
        """Start the child with one end of a socket: see Supervisor. It exits when ours is closed."""
        self._socket, other_end = socket.socketpair()
        self._socket.setblocking(
            False
        )  # a process that a job has forked may hold the other end when the child is dead
        self._heard = b""
        with other_end:
            self.process = subprocess.Popen(
                [*command, PARENT_OPTION, str(other_end.fileno())],
                pass_fds=[other_end.fileno()],
                start_new_session=True,
            )

    def died(self, now: float) -> None:
        """Record the child's end. The pause grows only while each child ends before it has registered."""
        self._listen()
        if self._socket:
            self._socket.close()
        self._socket = self.process = None
        self._early_deaths = 0 if REGISTERED in self._heard else self._early_deaths + 1
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(max(self._early_deaths - 1, 0), 10)
        self.next_start = now + min(pause, LONGEST_PAUSE_SECONDS)

    @property
    def is_registered(self) -> bool:
        """Whether it runs, and other workers see its worker."""
        self._listen()
        return self.process is not None and self.process.poll() is None and REGISTERED in self._heard

    @property
    def is_recycled(self) -> bool:
        """Whether its worker claims nothing more and is to be replaced."""
        self._listen()
        return RECYCLED in self._heard

    def _listen(self) -> None:
        with suppress(OSError):  # nothing was written
            self._heard += self._socket.recv(16) if self._socket else b""
