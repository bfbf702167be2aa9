"""The nights in which the clocks move, on a database server that takes the present for one of them."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spoils.db import embedded_server
from spoils.db.embedded import EmbeddedPostgres
from spoils.db.embedded_files import find_files
from spoils.db.engine import make_engine
from tests.databases import migrate_at
from tests.faults.faketime import faked
from tests.programs import Program, start_worker
from tests.rows import Rows
from tests.servers import THROW_AWAY
from tests.support import eventually

pytestmark = pytest.mark.process

BEFORE, AFTER = timedelta(seconds=8), timedelta(seconds=3)


class Server:
    """A server whose clock is set while it runs."""

    def __init__(self, home: Path, library: str) -> None:
        self._clock = home / "clock"
        self.set(datetime(2024, 1, 1, tzinfo=UTC))
        self._postgres = EmbeddedPostgres(home / "server", settings=THROW_AWAY)
        self.url = self._postgres.start()
        self._files = find_files(home / "server" / "16", 16)
        # Once more, as it was, but with the library.
        command = shlex.split((self._files.data / "postmaster.opts").read_text())
        embedded_server.halt(self._files)
        account = self._files.account
        self._process = subprocess.Popen(
            command,
            env={
                **faked(library),
                "PATH": os.defpath,
                "LC_ALL": "C",
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_NO_CACHE": "1",
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )

    def set(self, moment: datetime) -> None:
        """Let it be that moment now."""
        # Whole, since the server reads it each time.
        new = self._clock.with_suffix(".new")
        new.write_text(f"{(moment - datetime.now(UTC)).total_seconds():+.0f}")
        new.chmod(0o644)
        new.rename(self._clock)

    def remove(self) -> None:
        embedded_server.halt(self._files, "immediate")
        self._process.wait(30)
        self._postgres.remove()


@pytest.fixture
def server(library: str, thorough: bool) -> Iterator[Server]:
    if not thorough:
        pytest.skip(
            "It moves a server's clock through two nights, which takes more than a minute: --thorough."
        )
    # Not below the folder of the tests, which is closed to the server's user.
    home = Path(tempfile.mkdtemp(prefix="spoils-daylight-"))
    home.chmod(0o755)
    server = Server(home, library)
    yield server
    server.remove()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def far_rows(server: Server) -> Iterator[Rows]:
    engine = make_engine(server.url, connections=2, application_name="tests", autocommit=True)

    def answers() -> None:
        engine.connect().close()

    eventually(answers, 30)
    migrate_at(server.url)
    with engine.connect() as connection:
        yield Rows(connection)
    engine.dispose()


def entered(rows: Rows) -> list[tuple[str, str]]:
    """What was entered by its slot: the class, and the moment in UTC."""
    return rows.all(  # type: ignore[return-value]
        "SELECT metadata->>'type', to_char(slot AT TIME ZONE 'UTC', 'HH24:MI') FROM spoils_ticks "
        "JOIN fang_tasks ON fang_tasks.id = task_id WHERE outcome = 'entered' ORDER BY slot, 1"
    )


def at_work(server: Server) -> Program:
    return start_worker(server.url, SPOILS_JOBS="tests.faults.daylight_jobs")


def first_seen(server: Server, rows: Rows, moment: datetime) -> None:
    """Let a worker begin both schedules."""
    server.set(moment)
    with at_work(server):
        eventually(lambda: rows.value("SELECT count(*) FROM spoils_schedules") == 2)


def passes(server: Server, rows: Rows, moment: datetime, *, ticks: int) -> None:
    """Let that moment come and go while a worker runs that started shortly before, until there are `ticks` ticks."""
    server.set(moment - BEFORE)
    with at_work(server):
        eventually(lambda: rows.value("SELECT count(*) FROM spoils_ticks") == ticks, timeout=50)
        # What comes a second time comes by now.
        eventually(lambda: rows.value("SELECT now() > :moment", moment=moment + AFTER))


def test_in_spring_what_stands_in_the_hour_that_is_skipped_runs_right_after_it(
    server: Server, far_rows: Rows
) -> None:
    first_seen(server, far_rows, datetime(2024, 3, 31, 0, 20, tzinfo=UTC))
    passes(server, far_rows, datetime(2024, 3, 31, 0, 30, tzinfo=UTC), ticks=1)
    # At 1:00 it is 3:00 in Berlin, and was 1:59.
    passes(server, far_rows, datetime(2024, 3, 31, 1, tzinfo=UTC), ticks=2)
    passes(server, far_rows, datetime(2024, 3, 31, 1, 30, tzinfo=UTC), ticks=3)
    assert entered(far_rows) == [("HalfPastJob", "00:30"), ("NightJob", "01:00"), ("HalfPastJob", "01:30")]


def test_in_autumn_what_stands_in_the_hour_that_comes_twice_runs_once(server: Server, far_rows: Rows) -> None:
    first_seen(server, far_rows, datetime(2024, 10, 27, 0, 20, tzinfo=UTC))
    # It is half past two in Berlin at 0:30, and again at 1:30.
    passes(server, far_rows, datetime(2024, 10, 27, 0, 30, tzinfo=UTC), ticks=2)
    passes(server, far_rows, datetime(2024, 10, 27, 1, 30, tzinfo=UTC), ticks=3)
    assert entered(far_rows) == [("HalfPastJob", "00:30"), ("NightJob", "00:30"), ("HalfPastJob", "01:30")]
