"""How gunicorn serves the web program: `python -m spoils web`."""

import gc
import os
import socket
import struct
import sys
from typing import Any

from spoils.cli.port import check_port
from spoils.cli.start import check_database, guarded
from spoils.config import Settings
from spoils.errors import SettingError
from spoils.job.discovery import load
from spoils.web import body_deadline

try:
    _settings = Settings.from_env()
except SettingError as exc:
    sys.stderr.write(f"{exc}\n")
    sys.exit(2)

# The platform says the port; it must be reachable from outside the container.
bind = f"0.0.0.0:{_settings.port}"

# Two processes, so that one that restarts leaves the other to answer.
workers = _settings.web_concurrency

# Requests wait for the database and not for the processor. Half of the threads may be held by clients that wait for a
# job's end (spoils/web/api/bounds.py), without a connection.
worker_class = "gthread"
threads = 16

# Each connection is a file: a process stays below the usual limit of 1,024, at which accepting ends it.
worker_connections = 500

# The platform kills 30 seconds after SIGTERM; requests under way are to end before that.
graceful_timeout = 25

# Longer than the router keeps an idle connection (90 s), so that it never sends into one that we just closed.
keepalive = 95

# A slow leak in a dependency ends with its process; the jitter keeps the processes from restarting together.
max_requests = 10_000
max_requests_jitter = 1_000

# The heartbeat file on a disk that stalls would have healthy workers killed; memory does not stall.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

# Whose word on the scheme counts. The address is read by the same list, in spoils/web/proxy.py.
forwarded_allow_ips = ",".join(_settings.proxies)

# The one header that Heroku's router writes itself; the others are passed on as a client wrote them.
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}

# By default a proxy may say where the application begins; behind a router that passes everything on, so could anybody.
forwarder_headers = ""

# All lines go to standard output in the form of our own programs, which masks what a client wrote.
accesslog = "-"
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(M)sms "%(f)s" "%(a)s"'
logconfig_dict = {
    "formatters": {"line": {"()": "spoils.log_format.LineFormatter"}},
    "handlers": {
        "output": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "line"}
    },
    "root": {"level": _settings.log_level, "handlers": ["output"]},
    "loggers": {
        "gunicorn.error": {"level": _settings.log_level, "propagate": True},
        "gunicorn.access": {"level": "INFO", "propagate": True},
    },
}

# Nobody steers a running gunicorn here, and its socket would be a file in the home folder.
control_socket_disable = True

# A thread waits this long for each piece of a request's head, and for a client that does not take its answer.
SLOWEST_PIECE_SECONDS = 10


def on_starting(server: Any) -> None:
    """End before a process is made where each would fail: the port is taken, a job class or the database is wrong."""

    def check() -> int:
        # A master that replaces another (SIGUSR2), and one that systemd starts, are handed a socket that listens.
        if not (server.master_pid or os.environ.get("LISTEN_FDS") or server.cfg.reuse_port):
            for address in server.cfg.address:
                if isinstance(address, tuple):
                    check_port(*address)
        check_database(_settings)
        return 0

    if code := _check_jobs() or guarded(check):
        sys.exit(code)


def _check_jobs() -> int:
    """Load the job classes in a process of its own: what the master imports would survive a reload (SIGHUP)."""

    def check() -> int:
        load(_settings.jobs)
        return 0

    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = guarded(check)
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def when_ready(server: Any) -> None:
    """Bound each wait for a client; accepted connections inherit it from the socket that listens."""
    for listener in server.LISTENERS:
        for bound in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            listener.sock.setsockopt(socket.SOL_SOCKET, bound, struct.pack("ll", SLOWEST_PIECE_SECONDS, 0))


def pre_request(_worker: Any, req: Any) -> None:
    """Give the client a time in which to send the request's body."""
    body_deadline.begin(req)


def post_request(_worker: Any, req: Any, _environ: Any, _resp: Any) -> None:
    """Stop waiting for the rest of the body."""
    body_deadline.end(req)


def post_worker_init(_worker: Any) -> None:
    """Keep the garbage collector from walking, again and again, what was loaded and lives as long as the process."""
    gc.collect()
    gc.freeze()
