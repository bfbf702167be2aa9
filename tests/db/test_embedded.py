"""The embedded PostgreSQL: who starts it, who shares it, who stops it, and what it leaves alone."""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest

from spoils.db import embedded_files, embedded_server
from spoils.db.embedded import EmbeddedPostgres, development_url, programs
from spoils.errors import SettingError
from tests.support import eventually

pytestmark = pytest.mark.process
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the server runs as another account for root alone")

QUICK = {"fsync": "off"}
# Another program that uses the server until its standard input closes.
USER_PROGRAM = """
import sys
from pathlib import Path
from spoils.db.embedded import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"}).start(), flush=True)
sys.stdin.read()
"""

Spawn = Callable[[], tuple[subprocess.Popen[str], str]]


@pytest.fixture
def home() -> Iterator[Path]:
    # Short, because a socket is in it.
    folder = Path(tempfile.mkdtemp(prefix="spoils-test-"))
    yield folder / "postgres"
    EmbeddedPostgres(folder / "postgres").remove()
    shutil.rmtree(folder)


@pytest.fixture
def spawn(home: Path) -> Iterator[Spawn]:
    """Start another process that uses the server; return it and the URL that it got."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", USER_PROGRAM, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        with process:
            process.kill()


def ask(url: str, question: str) -> object:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def server_pid(url: str) -> int:
    """Return the postmaster's process id, which is the parent of every server process."""
    connection = psycopg2.connect(url)
    try:
        backend = connection.info.backend_pid
        return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(backend)], text=True))
    finally:
        connection.close()


def assert_ends(pid: int) -> None:
    """Wait for the process to be gone: the server gives its files back a moment before it exits."""

    def gone() -> None:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    eventually(gone)


def modes_above(path: Path) -> dict[Path, int]:
    return {parent: parent.stat().st_mode for parent in path.parents}


def test_it_answers_as_postgresql_16_with_utf8_and_the_settings_it_was_given(home: Path) -> None:
    server = EmbeddedPostgres(home, settings={**QUICK, "max_connections": "37"})
    url = server.start()
    assert str(ask(url, "SHOW server_version")).startswith("16.")
    assert ask(url, "SHOW server_encoding") == "UTF8"
    assert ask(url, "SHOW max_connections") == "37"
    assert ask(url, "SHOW listen_addresses") == ""
    assert ask(url, "SELECT current_database()") == "spoils"


def test_version_18_has_a_server_of_its_own(home: Path) -> None:
    server = EmbeddedPostgres(home, version=18, settings=QUICK)
    try:
        assert str(ask(server.start(), "SHOW server_version")).startswith("18.")
    finally:
        server.remove()


def test_starting_twice_gives_one_server_and_keeps_its_rows(home: Path) -> None:
    server = EmbeddedPostgres(home, settings=QUICK)
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS number")
    pid = server_pid(url)
    assert server.start() == url
    assert server_pid(url) == pid
    server.stop()
    assert_ends(pid)
    assert ask(server.start(), "SELECT number FROM kept") == 42


def test_many_starts_at_once_give_one_server(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        urls = list(pool.map(lambda _: EmbeddedPostgres(home, settings=QUICK).start(), range(8)))
    assert len(set(urls)) == 1
    assert len({server_pid(url) for url in urls}) == 1


def test_another_process_shares_it_and_the_last_one_out_stops_it(home: Path, spawn: Spawn) -> None:
    other, others_url = spawn()
    server = EmbeddedPostgres(home, settings=QUICK)
    url = server.start()
    assert url == others_url
    pid = server_pid(url)

    server.stop()
    assert server_pid(url) == pid

    assert other.stdin
    other.stdin.close()
    assert other.wait(30) == 0
    assert_ends(pid)


def test_a_killed_user_neither_stops_it_nor_keeps_it_alive(home: Path, spawn: Spawn) -> None:
    other, _ = spawn()
    server = EmbeddedPostgres(home, settings=QUICK)
    url = server.start()
    pid = server_pid(url)

    other.send_signal(signal.SIGKILL)
    other.wait(30)
    assert server_pid(url) == pid

    server.stop()
    assert_ends(pid)


def test_a_server_that_lost_its_last_user_to_a_kill_is_taken_up_by_the_next(home: Path, spawn: Spawn) -> None:
    other, url = spawn()
    pid = server_pid(url)
    other.kill()
    other.wait(30)

    server = EmbeddedPostgres(home, settings=QUICK)
    assert server_pid(server.start()) == pid
    server.stop()
    assert_ends(pid)


def test_it_starts_again_after_a_crash_that_left_its_pid_file(home: Path) -> None:
    server = EmbeddedPostgres(home, settings=QUICK)
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS number")
    pid = server_pid(url)
    os.kill(pid, signal.SIGKILL)
    assert_ends(pid)
    assert ask(server.start(), "SELECT number FROM kept") == 42
    assert server_pid(url) != pid


def test_a_forked_child_leaves_the_server_to_its_parent(home: Path) -> None:
    server = EmbeddedPostgres(home, settings=QUICK)
    url = server.start()
    child = os.fork()
    if child == 0:
        try:
            server.stop()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert ask(url, "SELECT 1") == 1


def test_variables_for_other_servers_do_not_reach_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGHOST", "/nowhere")
    assert ask(EmbeddedPostgres(home, settings=QUICK).start(), "SELECT 1") == 1


def asked_by(account: str | None, home: Path, role: str = "postgres") -> subprocess.CompletedProcess[str]:
    """Ask the running server for 42, as an account of this machine; None: as ours."""
    files = files_of(home)
    where = f"host={files.socket} port=5432 dbname=spoils user={role}"
    return subprocess.run(
        [files.programs / "psql", "-XwAt", "-c", "SELECT 42", where],
        env={"PATH": os.defpath, "LC_ALL": "C"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        user=account,
        extra_groups=[] if account else None,
    )


def files_of(home: Path) -> embedded_files.Files:
    return embedded_files.find_files(home.resolve() / "16", 16)


@as_root
def test_the_account_that_the_server_runs_as_is_not_its_superuser(home: Path) -> None:
    EmbeddedPostgres(home, settings=QUICK).start()
    assert asked_by(None, home).stdout == "42\n"
    refused = asked_by("nobody", home)
    assert refused.returncode == 2
    assert 'Peer authentication failed for user "postgres"' in refused.stderr


@as_root
def test_the_account_that_the_server_runs_as_cannot_change_who_is_let_in(home: Path) -> None:
    EmbeddedPostgres(home, settings=QUICK).start()
    for path in (files_of(home).hba, files_of(home).ident):
        changed = subprocess.run(
            ["sh", "-c", 'echo >> "$0"', path],
            user="nobody",
            extra_groups=[],
            capture_output=True,
            check=False,
        )
        assert changed.returncode != 0
        assert path.parent.stat().st_uid == os.geteuid()
        assert not path.parent.stat().st_mode & 0o022


def test_another_role_needs_its_password(home: Path) -> None:
    url = EmbeddedPostgres(home, settings=QUICK).start()
    ask(url, "CREATE ROLE clerk LOGIN PASSWORD 'of the clerk'")
    assert asked_by(None, home, "clerk").returncode == 2
    assert asked_by(None, home, "clerk password='of the clerk'").stdout == "42\n"


@pytest.mark.parametrize("runs", [True, False], ids=["it runs", "it is stopped"])
def test_a_cluster_that_an_earlier_release_left_open_keeps_its_rows_and_is_closed(
    home: Path, runs: bool
) -> None:
    server = EmbeddedPostgres(home, settings=QUICK)
    ask(server.start(), "CREATE TABLE kept AS SELECT 42 AS number")
    files = files_of(home)
    command = shlex.split((files.data / "postmaster.opts").read_text())
    server.stop()
    # As an earlier release made its clusters and started them.
    (files.data / "pg_hba.conf").write_text("local all all trust\n")
    options = command[1 : next(at for at, one in enumerate(command) if one.startswith("hba_file=")) - 1]
    started = embedded_server._run(
        files, "pg_ctl", "start", "--wait", "--pgdata", str(files.data), "--options", shlex.join(options)
    )
    assert started[0] == 0, started[1]
    stranger = "nobody" if os.geteuid() == 0 else None
    assert asked_by(stranger, home).stdout == "42\n"
    if not runs:
        embedded_server.halt(files)
    assert ask(server.start(), "SELECT number FROM kept") == 42
    assert ask(files.url, "SHOW hba_file") == str(files.hba)
    if stranger:
        assert asked_by(stranger, home).returncode == 2


@pytest.mark.parametrize("name", ["a name, with a space", "x" * 120], ids=["space and comma", "long"])
def test_a_home_whose_path_no_socket_can_have_works(home: Path, name: str) -> None:
    server = EmbeddedPostgres(home.parent / name, settings=QUICK)
    try:
        assert ask(server.start(), "SELECT 1") == 1
    finally:
        server.remove()


def test_no_folder_above_it_changes_its_mode(home: Path) -> None:
    clone = home.parent / "closed" / "clone"
    clone.mkdir(parents=True)
    clone.parent.chmod(0o700)
    inside = clone / ".spoils" / "postgres"
    before = modes_above(clone)
    server = EmbeddedPostgres(inside, settings=QUICK)
    try:
        assert ask(server.start(), "SELECT 1") == 1
        assert modes_above(clone) == before
    finally:
        server.remove()


def test_a_fresh_clone_at_the_path_of_a_deleted_one_begins_empty(home: Path) -> None:
    first = EmbeddedPostgres(home, settings=QUICK)
    url = first.start()
    ask(url, "CREATE TABLE former AS SELECT 1")
    pid = server_pid(url)
    shutil.rmtree(home)

    second = EmbeddedPostgres(home, settings=QUICK)
    try:
        assert ask(second.start(), "SELECT to_regclass('former')") is None
        assert server_pid(url) != pid
        first.stop()
        assert ask(url, "SELECT 1") == 1
    finally:
        # Where the data were in the clone, the former server finds out by itself, but only within a minute.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)


def test_a_new_database_is_announced_with_its_place(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="spoils"):
        server = EmbeddedPostgres(home, settings=QUICK)
        data = ask(server.start(), "SHOW data_directory")
        server.stop()
        server.start()
    assert caplog.messages == [f"Made a new, empty database in {data}"]


def test_a_moved_clone_keeps_its_database_and_a_copy_begins_empty(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place, moved, copy = home.parent / "place", home.parent / "moved", home.parent / "copy"
    server = EmbeddedPostgres(place, settings=QUICK)
    ask(server.start(), "CREATE TABLE kept AS SELECT 42 AS number")
    server.stop()
    place.rename(moved)
    after = EmbeddedPostgres(moved, settings=QUICK)
    copied = EmbeddedPostgres(copy, settings=QUICK)
    try:
        assert ask(after.start(), "SELECT number FROM kept") == 42
        after.stop()
        if os.geteuid() == 0:  # else the database is in the clone, and copied with it
            shutil.copytree(moved, copy)
            with caplog.at_level("INFO", logger="spoils"):
                assert ask(copied.start(), "SELECT to_regclass('kept')") is None
            assert "The database of the clone that this one was copied from stays in /var/tmp/" in caplog.text
            assert ask(after.start(), "SELECT number FROM kept") == 42
    finally:
        after.remove()
        copied.remove()


def test_its_users_see_nothing_of_it_after_it_was_removed(home: Path) -> None:
    server = EmbeddedPostgres(home, settings=QUICK)
    pid = server_pid(server.start())
    server.remove()
    assert_ends(pid)
    assert not home.exists()


def test_the_clones_own_database_is_below_its_dot_folder(home: Path) -> None:
    clone = home.parent
    try:
        assert ask(development_url(clone), "SELECT 1") == 1
        assert (clone / ".spoils" / "postgres").is_dir()
    finally:
        EmbeddedPostgres(clone / ".spoils" / "postgres").remove()


def test_psql_is_among_the_programs() -> None:
    said = subprocess.check_output([programs() / "psql", "--version"], text=True)
    assert said.startswith("psql (PostgreSQL) 16.")


def test_without_the_package_the_error_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_files, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"set DATABASE_URL, or install .* requirements-dev\.txt"):
        EmbeddedPostgres(home).start()
    monkeypatch.undo()


def test_a_link_that_somebody_put_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(SettingError, match="is not a folder of this user"):
        embedded_files.own_folder(tmp_path / "link", 0o711)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that is somebody else's")
def test_a_folder_that_somebody_else_put_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(SettingError, match="is not a folder of this user"):
        embedded_files.own_folder(tmp_path / "theirs", 0o711)
