"""How gunicorn serves the web program: `gunicorn --config gunicorn.conf.py app:app`."""

import gc
import os
import socket
import struct
import sys

from spoils.cli.start import check_database, guarded
from spoils.config import Settings
from spoils.errors import SettingError
from spoils.web import balance

try:
    _settings = Settings.from_env()
except SettingError as exc:
    sys.stderr.write(f"{exc}\n")
    sys.exit(2)

# The platform says the port; it must be reachable from outside the container.
bind = f"0.0.0.0:{_settings.port}"

# Two processes, so that one that restarts leaves the other to answer.
workers = _settings.web_concurrency

# Requests wait for the database and not for the processor, so threads are the cheap way to more of them. The worker is
# gunicorn's own of threads, except that it waits for a slow client without one, reads plain requests itself, and leaves
# a new connection to a process that has fewer.
worker_class = "spoils.web.patient.PatientWorker"

# Half of them may be held by clients that wait for a job's end (spoils/web/api/bounds.py), without a connection.
threads = 8

# The platform's router gives a request up after 30 seconds; work past that is for nobody.
timeout = 30

# The platform kills 30 seconds after SIGTERM; requests under way are to end before that.
graceful_timeout = 25

# Longer than the router keeps an idle connection (90 s), so that it never sends into one that we just closed.
keepalive = 95

# A slow leak in a dependency ends with its process; the jitter keeps the processes from restarting together.
max_requests = 10_000
max_requests_jitter = 1_000

# Enough for every URL and cookie of ours, and no room for one that only costs memory.
limit_request_line = 4094
limit_request_fields = 60
limit_request_field_size = 8190

# The heartbeat file on a disk that stalls would have healthy workers killed; memory does not stall.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

# Whose word on the scheme counts. The address is read by the same list, in spoils/web/proxy.py.
forwarded_allow_ips = ",".join(_settings.proxies)

# The one header that Heroku's router writes itself; the others are passed on as a client wrote them.
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}

# By default a proxy may say where the application begins; behind a router that passes everything on, so could anybody.
forwarder_headers = ""

# The platform collects standard output. The moment stands at the head of each line already.
accesslog = "-"
errorlog = "-"
logger_class = "spoils.web.server_log.ServerLog"
loglevel = _settings.log_level.lower()

# Nobody steers a running gunicorn here, and its socket would be a file in the home folder.
control_socket_disable = True

# The worker waits for whole requests, long bodies aside: those a thread reads, and it waits so long for each piece,
# as it does for a client that does not take its answer.
SLOWEST_PIECE_SECONDS = 10


def on_starting(_server):
    """End before a process is made where the database would refuse each of them."""
    if code := guarded(lambda: check_database(_settings) or 0):
        sys.exit(code)


def when_ready(server):
    """Bound each wait for a client; accepted connections inherit it from the socket that listens."""
    for listener in server.LISTENERS:
        for bound in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            listener.sock.setsockopt(socket.SOL_SOCKET, bound, struct.pack("ll", SLOWEST_PIECE_SECONDS, 0))


def child_exit(_server, worker):
    """Count a process that has ended no more, however it did."""
    balance.forget(worker.age)


def post_worker_init(_worker):
    """Keep the garbage collector from walking, again and again, what was loaded and lives as long as the process."""
    gc.collect()
    gc.freeze()
