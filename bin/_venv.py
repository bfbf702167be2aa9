"""Bring .venv in step with requirements-dev.txt; does nothing when it is. Needs Python alone."""

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "spoils-stamp"
REQUIREMENTS = ROOT / "requirements-dev.txt"


def main() -> None:
    lock_folder = ROOT / ".spoils"
    lock_folder.mkdir(exist_ok=True)
    # Two scripts that start at once would install into each other's half of a venv.
    with (lock_folder / "venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = f"{VENV} {hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()}"
        usable = works()
        if usable and stamp() == wanted:
            return
        if not usable:
            make_venv()
        # Without a stamp an interrupted install is taken up again.
        STAMP.unlink(missing_ok=True)
        install()
        STAMP.write_text(wanted)


def works() -> bool:
    """Whether the venv is whole, made for this path, and of the Python that its packages are for."""
    marker = VENV / "spoils-path"
    if not marker.is_file() or marker.read_text() != str(VENV) or not PYTHON.exists():
        return False
    done = subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False)
    return done.returncode == 0


def stamp() -> str:
    return STAMP.read_text() if STAMP.is_file() else ""


def make_venv() -> None:
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        sys.exit(
            f"The venv module of {sys.executable} is not complete. "
            "On Debian and Ubuntu `apt-get install python3-venv` brings it."
        )
    print(f"Making .venv with Python {sys.version.split()[0]}.", file=sys.stderr, flush=True)
    run([sys.executable, "-m", "venv", "--clear", VENV], "The venv could not be made.")
    (VENV / "spoils-path").write_text(str(VENV))


def install() -> None:
    print(
        "Installing the packages of requirements-dev.txt into .venv, which takes about a minute.",
        file=sys.stderr,
        flush=True,
    )
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--quiet", "--require-hashes"]
    run([*pip, "--requirement", REQUIREMENTS], "The packages could not be installed.")


def run(command: list[str | Path], complaint: str) -> None:
    environment = {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        # A personal configuration that installs for the user would miss the venv.
        "PIP_USER": "0",
    }
    if not environment.get("HOME"):
        # An empty HOME would put pip's cache at the root of the file system.
        environment.pop("HOME", None)
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
        sys.exit(complaint)


if __name__ == "__main__":
    main()
