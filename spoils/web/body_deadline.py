"""A deadline for the body of a request, however many pieces it comes in; gunicorn.conf.py calls this for each request.

gunicorn's threads wait as long as a client takes to send it. Past the deadline a read raises OSError, as where the
client is gone. A body that the application left unread, as where it refuses the request, is not waited for.
"""

import socket
import time
from typing import Any

from gunicorn.http.errors import ParseException

BODY_SECONDS = 15.0
DISCARDED_BYTES = 64 * 1024


def begin(request: Any) -> None:
    """Start the time of gunicorn's `request`, whose head has been read."""
    request.unreader.sock = _TimedSocket(request.unreader.sock, time.monotonic() + BODY_SECONDS)


def end(request: Any) -> None:
    """Discard what has come of the body, once the answer is sent. gunicorn closes the connection where more is due."""
    timed: _TimedSocket = request.unreader.sock
    timed.deadline = 0.0
    try:
        if len(request.body.read(DISCARDED_BYTES)) == DISCARDED_BYTES:
            request.body.failed = True
    except (OSError, ParseException):
        pass  # gunicorn has noted that it failed
    request.unreader.sock = timed.sock


class _TimedSocket:
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline

    def recv(self, size: int) -> bytes:
        # With a timeout of 0 it takes what has come, or raises.
        self.sock.settimeout(max(0.0, self.deadline - time.monotonic()))
        try:
            return self.sock.recv(size)
        except TimeoutError:
            # gunicorn's main loop would wait 2 s more for this client, and for the next one after that.
            self.sock.shutdown(socket.SHUT_RD)
            raise
        finally:
            self.sock.settimeout(None)
