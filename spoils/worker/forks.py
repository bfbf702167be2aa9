"""Processes that a job forks: they must neither keep nor use the worker's connections and signals."""

import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn
from weakref import WeakSet

from psycopg2 import extensions
from sqlalchemy import Engine, event

from spoils.errors import SpoilsError

LAST_WORDS_SECONDS = 3.0
STOPPING = (signal.SIGTERM, signal.SIGINT)


class InForkedProcess(SpoilsError):
    """A process forked by a job has no database session. Use queue.session in the job itself."""


class Forks:
    """Cuts forked processes off the connections of `engines`.

    A forked process that inherits them keeps the sessions and the lock of a dead worker until it ends itself, and
    whatever it sends there mixes with the statements of the worker.
    """

    def __init__(self, *engines: Engine, in_child: Sequence[Callable[[], None]] = ()) -> None:
        """Each of `in_child` is called first in each forked process."""
        self._engines = engines
        self._also_in_child = in_child
        self._connections: WeakSet[extensions.connection] = WeakSet()
        self._of_thread = threading.local()
        for engine in engines:
            event.listen(engine, "connect", self._connected, insert=True)

    def watch(self) -> None:
        """Do so in each process that is forked from now on."""
        os.register_at_fork(
            before=self._block_signals, after_in_parent=self._unblock_signals, after_in_child=self._in_child
        )

    def _block_signals(self) -> None:
        # One that comes before the forked process has its own handlers would go to the worker, by the wake-up pipe, and
        # Python would forget it in the forked process.
        self._of_thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)

    def _unblock_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._of_thread.mask)

    def _connected(self, connection: extensions.connection, _record: object) -> None:
        self._connections.add(connection)

    def _in_child(self) -> None:
        for function in self._also_in_child:
            function()
        # Each socket is replaced by one whose other end is closed. If it were only closed, the next file that the job
        # opens would get its number, and code that still uses the connection would write there. The session itself
        # goes on: closing a copy of its socket sends nothing to the server.
        dead, other_end = socket.socketpair()
        other_end.close()
        with dead:
            for connection in self._connections:
                if not connection.closed:
                    os.dup2(dead.fileno(), connection.fileno(), inheritable=False)
        for engine in self._engines:
            engine.dispose(close=False)  # code that connects here gets a connection of this process
        # Otherwise `Process.terminate` would stop the worker, through the wake-up pipe that both processes hold.
        signal.set_wakeup_fd(-1)
        for number in STOPPING:
            signal.signal(number, signal.SIG_DFL)
        self._unblock_signals()


def end_forked_process(error: BaseException | None) -> NoReturn:
    """End a forked process where it comes back from `run`: what follows is the worker's code."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        # The reader of the traceback may have stopped reading. Not by spoils.worker.force_exit: the timer thread of a
        # stopping worker does not exist in a forked process.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, LAST_WORDS_SECONDS)
        traceback.print_exception(error)
        code = 1
    os._exit(code)  # without flushing what the worker had not written yet
