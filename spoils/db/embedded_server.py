"""What is done with the embedded PostgreSQL: make its data, start it, ask it, stop it."""

import logging
import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing

import psycopg2

from spoils.db.embedded_files import DATABASE, PORT, USER, Files
from spoils.errors import DatabaseAway

log = logging.getLogger("spoils")

START_SECONDS = 60
STOP_SECONDS = 20
# The superuser is the account that starts the server, not the one that it runs as: for root that is `nobody`, which
# runs many programs. Other roles need a password.
HBA = f"""\
local all,replication {USER} peer map=spoils
local all,replication all scram-sha-256
"""
IDENT = f'spoils "{{account}}" {USER}\n'


def ensure_data(files: Files, *, durable: bool) -> None:
    """Make the data folder, whole or not at all."""
    if files.data.exists():
        return
    # An initdb that was killed leaves half a cluster, so it works under another name.
    unfinished = files.place / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    files.give(unfinished, 0o700)
    # Locales differ between machines; C and UTF-8 are the same on all.
    options = ["--username", USER, "--auth=reject", "--no-locale", "--encoding=UTF8"]
    if not durable:
        options.append("--no-sync")
    failed, output = _run(files, "initdb", "--pgdata", str(unfinished), *options)
    if failed:
        raise DatabaseAway(f"The embedded PostgreSQL's data could not be made in {unfinished}: {output}")
    unfinished.rename(files.data)
    log.info("Made a new, empty database in %s", files.data)


def ensure_running(files: Files, settings: Mapping[str, str]) -> None:
    """Return when the server answers, started if need be."""
    if _running(files) and str(files.hba) not in (files.data / "postmaster.opts").read_text():
        halt(files)  # an earlier release started it, and let everybody in
    deadline = time.monotonic() + START_SECONDS
    while not _answers(files):
        if not _running(files):
            _launch(files, settings)
        if time.monotonic() > deadline:
            raise DatabaseAway(f"The embedded PostgreSQL does not answer. Its log:\n{_end_of_log(files)}")
        time.sleep(0.05)


def ensure_database(files: Files) -> None:
    """Make the database if it is not there."""
    with closing(_connect(files)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
            if not cursor.rowcount:
                cursor.execute(f"CREATE DATABASE {DATABASE}")


def halt(files: Files, mode: str = "fast") -> None:
    """Stop the server if it runs: connections are cut, and what is committed stays."""
    for how in (mode, "immediate"):
        if not _running(files):
            return
        options = ["--wait", "--mode", how, "--timeout", str(STOP_SECONDS)]
        _run(files, "pg_ctl", "stop", "--pgdata", str(files.data), *options)


def _launch(files: Files, settings: Mapping[str, str]) -> None:
    given = {
        "timezone": "UTC",
        "listen_addresses": "",
        **settings,
        "port": str(PORT),
        "unix_socket_directories": str(files.socket),
        "unix_socket_permissions": "0700",
        "hba_file": str(files.hba),
        "ident_file": str(files.ident),
    }
    postgres = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in given.items())
    for path, text in (
        (files.hba, HBA),
        (files.ident, IDENT.format(account=pwd.getpwuid(os.geteuid()).pw_name)),
    ):
        path.write_text(text)
        path.chmod(0o644)
    files.log.write_bytes(b"")
    files.give(files.log, 0o600)
    options = ["--wait", "--timeout", str(START_SECONDS), "--log", str(files.log), "--options", postgres]
    failed, output = _run(files, "pg_ctl", "start", "--pgdata", str(files.data), *options)
    # The children of a killed server need a moment to notice; until then their memory bars a new one.
    if failed and "pre-existing shared memory block" not in _end_of_log(files):
        raise DatabaseAway(f"The embedded PostgreSQL did not start: {output}\n{_end_of_log(files)}")


def _running(files: Files) -> bool:
    if not (files.data / "postmaster.pid").exists():
        return False
    failed, _ = _run(files, "pg_ctl", "status", "--pgdata", str(files.data))
    return not failed


def _answers(files: Files) -> bool:
    try:
        _connect(files).close()
    except psycopg2.OperationalError:
        return False
    return True


def _connect(files: Files) -> "psycopg2.extensions.connection":
    return psycopg2.connect(
        host=str(files.socket), port=PORT, user=USER, dbname="postgres", connect_timeout=5
    )


def _end_of_log(files: Files) -> str:
    if not files.log.exists():
        return "(there is none)"
    return "\n".join(files.log.read_text(errors="replace").splitlines()[-10:])


def _run(files: Files, program: str, *arguments: str) -> tuple[int, str]:
    """Run one of PostgreSQL's programs as the server's user and return its exit code and output."""
    # A file takes the output, because a server started here would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            [files.programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # PostgreSQL's own variables in somebody's shell must not steer this server.
            env={"PATH": os.defpath, "LC_ALL": "C"},
            # Ours may be closed to the server's user.
            cwd="/",
            # Ctrl-C on the terminal is for the programs; they still need the database to end well.
            start_new_session=True,
            check=False,
            user=files.account.pw_uid if files.account else None,
            group=files.account.pw_gid if files.account else None,
            extra_groups=[] if files.account else None,
        )
        output.seek(0)
        return done.returncode, output.read().decode(errors="replace").strip()
