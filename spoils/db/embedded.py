"""A PostgreSQL of the clone's own, for development and the tests."""

import atexit
import fcntl
import functools
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from spoils.db import embedded_server as server
from spoils.db.embedded_files import (
    Files,
    begin_anew,
    find_files,
    find_programs,
    left_by_former_clone,
    moved_from,
    note_home,
    take_over,
)
from spoils.errors import SettingError

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class EmbeddedPostgres:
    """One server, shared by every process that names the same home.

    A process that uses the server holds a shared lock. The system releases the lock when a process dies,
    however it dies; a process that leaves and finds no other holder stops the server.
    """

    def __init__(
        self,
        home: Path,
        *,
        version: int = 16,
        settings: Mapping[str, str] = NO_SETTINGS,
        programs: Path | None = None,
    ) -> None:
        """Name the server; `settings` are PostgreSQL's, and apply where this process really starts it.

        `programs` is the folder of its programs where they do not come with the package.
        """
        self._home = home.resolve() / str(version)
        self._version = version
        self._settings = dict(settings)
        self._programs = programs
        self._mutex = threading.RLock()
        self._use: _Use | None = None

    def start(self) -> str:
        """Have the server running and return the URL of its database."""
        with self._mutex, _alone(self._home):
            files = find_files(self._home, self._version, self._programs)
            use = self._my_use() or _Use(self._home, files)
            try:
                if left_by_former_clone(self._home, files):
                    server.halt(files, mode="immediate")
                    if former := moved_from(self._home, files):
                        server.halt(former)
                        take_over(former, files)
                    else:
                        begin_anew(self._home, files)
                note_home(self._home, files)
                server.ensure_data(files, durable=self._settings.get("fsync") != "off")
                server.ensure_running(files, self._settings)
                server.ensure_database(files)
            except BaseException:
                use.end()
                self._use = None
                raise
            self._use = use
            atexit.register(self.stop)
            return files.url

    def stop(self) -> None:
        """End this process's use of the server, and the server with its last use."""
        with self._mutex:
            atexit.unregister(self.stop)
            use = self._my_use()
            self._use = None
            if use is None:
                return
            if not self._home.is_dir():
                # The clone was deleted under the running server: no other process can use it.
                server.halt(use.files)
                use.end()
                return
            with _alone(self._home):
                if use.counts_at(self._home) and use.is_last():
                    server.halt(use.files)
                use.end()

    def remove(self) -> None:
        """Stop the server, even if it is in use, and delete all that it wrote."""
        with self._mutex:
            atexit.unregister(self.stop)
            if use := self._my_use():
                use.end()
            self._use = None
            if not self._home.is_dir():
                return
            with _alone(self._home):
                files = find_files(self._home, self._version, self._programs)
                server.halt(files, mode="immediate")
                for folder in (files.data, files.socket, files.place, self._home):
                    shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                self._home.parent.rmdir()

    def _my_use(self) -> "_Use | None":
        """Return this process's use; a forked child has its parent's lock, and must not decide over it."""
        return self._use if self._use and self._use.pid == os.getpid() else None


def development_url(root: Path) -> str:
    """Return the URL of the clone's own database, which runs from then on until this process ends."""
    return _development_server(root.resolve()).start()


def programs(version: int = 16) -> Path:
    """Return the folder of `psql`, `pg_dump` and the other programs that a client may want."""
    return find_programs(version)


@functools.cache
def _development_server(root: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(root / ".spoils" / "postgres")


class _Use:
    """The shared lock that shows the others that this process uses the server."""

    def __init__(self, home: Path, files: Files) -> None:
        self.files = files
        self.pid = os.getpid()
        self._lock = os.open(home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def counts_at(self, home: Path) -> bool:
        """Whether the lock is still the home's, which a new clone at the same path has its own of."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._lock), (home / "users.lock").stat())
        return False

    def is_last(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def end(self) -> None:
        os.close(self._lock)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep every other process from starting or stopping this server meanwhile."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (home / "start.lock").open("a")
    except PermissionError as exc:
        raise SettingError(f"{home} is closed to this user: remove it, or set DATABASE_URL.") from exc
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
