"""Environments that have one set of requirements and nothing else, made of the packages that the tests have."""

import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement


def install(wheel: Path, requirements: Iterable[str], home: Path) -> Path:
    """Make an environment with the wheel, these requirements, and all that these require. Returns its Python."""
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    own = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, *own], check=True, timeout=300)
    (spoils,) = distributions(path=[str(packages)])
    wanted = [*map(Requirement, requirements), *_required(spoils, set())]
    linked: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) not in linked:
                linked.add((requirement.name, extra))
                found = distribution(requirement.name)
                _link(found, packages)
                wanted += _required(found, {extra})
    return python


def _required(found: Distribution, extras: set[str]) -> list[Requirement]:
    required = map(Requirement, found.requires or ())
    return [
        one
        for one in required
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras or {""})
    ]


def _link(found: Distribution, packages: Path) -> None:
    for name in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
        if not (link := packages / name).exists():
            link.symlink_to(Path(str(found.locate_file(name))))
