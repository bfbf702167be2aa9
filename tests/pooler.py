"""PgBouncer in transaction mode before the tests' server."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

from tests.support import eventually

# The server's own superuser is whoever started it, and for root the pooler runs as another account.
ROLE = "pooler"
MAKE_ROLE = f"""
DO $$ BEGIN
    CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{ROLE}';
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""
PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
CONFIG = """
[databases]
* = host={server} port={server_port} user={user} password={password}
[pgbouncer]
listen_addr = {address}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
logfile = {folder}/log
pidfile = {folder}/pid
"""


@dataclass
class Pooler:
    url: str
    process: "subprocess.Popen[bytes]"

    def to(self, database_url: str) -> str:
        """The same database, through this pooler."""
        database = make_url(database_url).database
        return make_url(self.url).set(database=database).render_as_string(hide_password=False)


@contextmanager
def a_pooler(database_url: str, sessions: int = 8, *, address: str = "127.0.0.1") -> Iterator[Pooler]:
    """Run PgBouncer with at most `sessions` sessions for each database. Without it: skip, in CI fail."""
    if PGBOUNCER is None:
        if os.environ.get("CI"):
            pytest.fail("PgBouncer is not installed.")
        pytest.skip("PgBouncer is not installed.")
    with socket.create_server((address, 0)) as free:
        port = free.getsockname()[1]
    # Not below the folder of the tests, which is closed to other users.
    with tempfile.TemporaryDirectory(prefix="spoils-pooler-") as made:
        folder = Path(made)
        with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(MAKE_ROLE)
        process = _start(database_url, folder, address, port, sessions)

        def answers() -> None:
            log = folder / "log"
            assert process.poll() is None, log.read_text() if log.exists() else "It left no log."
            socket.create_connection((address, port), 1).close()

        try:
            eventually(answers, 20)
            pooled = make_url(database_url).set(
                host=address, port=port, query={"sslmode": "disable", "gssencmode": "disable"}
            )
            yield Pooler(pooled.render_as_string(hide_password=False), process)
        finally:
            process.kill()
            process.wait(20)


def _start(
    database_url: str, folder: Path, address: str, port: int, sessions: int
) -> "subprocess.Popen[bytes]":
    url = make_url(database_url)
    config = folder / "pgbouncer.ini"
    config.write_text(
        CONFIG.format(
            server=url.query.get("host", url.host),
            server_port=url.query.get("port", url.port),
            user=ROLE,
            password=ROLE,
            address=address,
            port=port,
            sessions=sessions,
            folder=folder,
        )
    )
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        # It refuses to run as root; the server's socket is open to the user that the server runs as.
        nobody = pwd.getpwnam("nobody")
        folder.chmod(0o755)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        other = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return subprocess.Popen(
        [str(PGBOUNCER), str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **other
    )
