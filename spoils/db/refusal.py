"""Why a server refuses a connection. Its message is in the server's language, and psycopg2 has no SQLSTATE for it."""

import ctypes
import re
import select
import time
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ

from spoils.database_url import connection_arguments

WAIT_SECONDS = 10.0
_VERBOSE = 2  # PQERRORS_VERBOSE: the SQLSTATE stands between the severity and the message
_SQLSTATE = re.compile(r":  ([0-9A-Z]{5}): ")
# Waiting changes none of these: wrong role or password, no such database, no right to connect, unknown parameter.
_FINAL = ("28", "3D000", "42501", "42704", "22023")
# libpq's own message, which is in English in every program that does not call setlocale().
_NO_PASSWORD = "no password supplied"  # noqa: S105


def is_final(url: str, reason: str) -> bool:
    """Whether a connection that failed for `reason` will fail again however long one waits."""
    return _NO_PASSWORD in reason or (refusal_of(url) or "").startswith(_FINAL)


def refusal_of(url: str) -> str | None:
    """The SQLSTATE with which the server refuses a connection now; None where it does not answer, or accepts one."""
    # An asynchronous connection can be told to be verbose before the server answers.
    connection: Any = None
    try:
        connection = psycopg2.connect(**connection_arguments(url), async_=True)
        ctypes.CDLL(psycopg2._psycopg.__file__).PQsetErrorVerbosity(
            ctypes.c_void_p(connection.pgconn_ptr), _VERBOSE
        )
        _await(connection)
    except psycopg2.Error as exc:
        codes = _SQLSTATE.findall(str(exc))
        return codes[-1] if codes else None
    finally:
        if connection is not None:
            connection.close()
    return None


def _await(connection: Any) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while (state := connection.poll()) != POLL_OK:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        waiting = [connection.fileno()]
        select.select(*((waiting, []) if state == POLL_READ else ([], waiting)), [], left)
