"""A deadline for receiving the body of a request, however many parts it comes in; gunicorn's hooks call this.

gunicorn's own timeouts apply to each read and not to the whole body. Past the deadline a read raises OSError, as if the
client had disconnected. A body that the application left unread, as when it refuses the request, is not waited for.
"""

import socket
import time
from typing import Any

from gunicorn.http.errors import ParseException

BODY_SECONDS = 15.0
DISCARDED_BYTES = 64 * 1024


def begin(request: Any) -> None:
    """Start the deadline of gunicorn's `request`, whose headers have been read."""
    request.unreader.sock = _TimedSocket(request.unreader.sock, time.monotonic() + BODY_SECONDS)


def end(request: Any) -> None:
    """Discard what has arrived of the body, after the response. gunicorn closes the connection if more is due."""
    timed: _TimedSocket = request.unreader.sock
    timed.deadline = 0.0
    try:
        if len(request.body.read(DISCARDED_BYTES)) == DISCARDED_BYTES:
            request.body.failed = True
    except (OSError, ParseException):
        pass  # gunicorn has recorded the failure
    request.unreader.sock = timed.sock


class _TimedSocket:
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline

    def recv(self, size: int) -> bytes:
        # With a timeout of 0 this returns what has arrived, or raises.
        self.sock.settimeout(max(0.0, self.deadline - time.monotonic()))
        try:
            return self.sock.recv(size)
        except TimeoutError:
            # Otherwise gunicorn's main loop would wait 2 s for this client, and then for the next one.
            self.sock.shutdown(socket.SHUT_RD)
            raise
        finally:
            self.sock.settimeout(None)
