"""Processes that a job forks: what of the worker they must not hold on to."""

import os
import signal
import socket
import sys
import traceback
from typing import NoReturn
from weakref import WeakSet

from psycopg2 import extensions
from sqlalchemy import Engine, event

from spoils.errors import SpoilsError


class InForkedProcess(SpoilsError):
    """A process that a job has forked has no database session; let the job itself read and write."""


class Forks:
    """Knows the connections of `engines`, to take them from a forked process.

    With them such a process would keep the sessions of a dead worker open, and its lock, for as long as it lives; and
    what it sent there would come between the worker's own statements.
    """

    def __init__(self, *engines: Engine) -> None:
        self._engines = engines
        self._connections: WeakSet[extensions.connection] = WeakSet()
        for engine in engines:
            event.listen(engine, "connect", self._connected, insert=True)

    def watch(self) -> None:
        """From now on, in each process that is forked from this one."""
        os.register_at_fork(after_in_child=self._in_child)

    def _connected(self, connection: extensions.connection, _record: object) -> None:
        self._connections.add(connection)

    def _in_child(self) -> None:
        # In the place of each socket stands one without another end. A number that was only closed would be given to
        # the job's next file, and a connection that is used or closed all the same would write there. To close our
        # copy tells the server nothing: the session goes on in the worker.
        dead, other_end = socket.socketpair()
        other_end.close()
        with dead:
            for connection in self._connections:
                if not connection.closed:
                    os.dup2(dead.fileno(), connection.fileno(), inheritable=False)
        for engine in self._engines:
            engine.dispose(close=False)  # what the job's code connects there is the process's own
        # A signal to this process, as from `Process.terminate`, would stop the worker by way of the pipe they share.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)


def end_forked_process(error: BaseException | None) -> NoReturn:
    """End a process that a job has forked and that came back from `run`: all that follows is the worker's."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    sys.stdout.flush()
    os._exit(code)
