"""Several worker processes under one parent: started again when they die, stopped together."""

import logging
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

log = logging.getLogger("spoils.worker")

LOOK_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
GRACE_SECONDS = 4.0
"""What a child may take beyond its own shutdown time before it is killed."""
PARENT_OPTION = "--parent-fd"


class Family:
    """Keeps `processes` children of the same command alive. `run()` blocks until a signal."""

    def __init__(self, *, processes: int, command: Sequence[str], shutdown_seconds: float) -> None:
        self._command = command
        self._shutdown_seconds = shutdown_seconds
        self._children = [_Place(number) for number in range(1, processes + 1)]
        self._stopping = False
        self._ear, self._mouth = os.pipe()

    def run(self) -> int:
        """Start the children, start again those that die, stop them all. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, self._on_child)
        while not self._stopping:
            for place in self._children:
                self._look_after(place)
            heard, _, _ = select.select([self._ear], [], [], LOOK_SECONDS)
            if heard:
                os.read(self._ear, 4096)
        return self._stop()

    def _look_after(self, place: "_Place") -> None:
        now = time.monotonic()
        if place.process is not None and (code := place.process.poll()) is not None:
            place.fall(now)
            log.error(
                "Worker process %d ended with code %d and starts again in %.0f s",
                place.number,
                code,
                max(0.0, place.next_start - now),
                extra={"action": "restart"},
            )
        if place.process is None and now >= place.next_start:
            # A signal that comes between the two lines is heard by the next round.
            place.rise(self._command)

    def _stop(self) -> int:
        """Pass the signal on once, and wait."""
        alive = [place.process for place in self._children if place.process is not None]
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
        # While Python ends it takes its handlers away, and one more signal would be death by a signal, not exit 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        # A child that was still starting had not taken the signal in hand yet.
        return 0 if all(code in (0, -signal.SIGTERM) for code in codes) else 1

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        os.write(self._mouth, b"!")

    def _on_child(self, _number: int, _frame: FrameType | None) -> None:
        os.write(self._mouth, b".")


class _Place:
    """One child, and how often in a row it ended before its worker attended."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.next_start = 0.0
        self._falls = 0
        self._socket: socket.socket | None = None

    def rise(self, command: Sequence[str]) -> None:
        """Start the child with one end of a socket: it writes there once it attends, and reads the parent's end."""
        self._socket, other_end = socket.socketpair()
        with other_end:
            self.process = subprocess.Popen(
                [*command, PARENT_OPTION, str(other_end.fileno())],
                pass_fds=[other_end.fileno()],
                start_new_session=True,
            )

    def fall(self, now: float) -> None:
        """Note the child's end. The pause grows only while each child ends before it attends."""
        ours, self._socket, self.process = self._socket, None, None
        self._falls = 0 if ours and _was_written_to(ours) else self._falls + 1
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(max(self._falls - 1, 0), 10)
        self.next_start = now + min(pause, LONGEST_PAUSE_SECONDS)


def _was_written_to(ours: socket.socket) -> bool:
    """Whether anything was written at the other end of the socket, which is closed here."""
    with ours:
        ours.setblocking(False)  # a process that a job has forked may still hold the other end
        try:
            return bool(ours.recv(1))
        except BlockingIOError:
            return False
