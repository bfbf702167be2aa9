"""Which tests reach which line of `spoils.queue`, by coverage."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from coverage import Coverage, CoverageData

from tests.mutation.mutants import Mutant
from tests.mutation.trials import ROOM, ROOT

TESTS = [
    "tests/queue",
    "tests/worker",
    "tests/web/test_api_idempotency.py",
    "tests/web/test_api_why.py",
    "tests/web/dashboard/test_errors.py",
    "tests/web/dashboard/test_workers.py",
    "tests/web/dashboard/test_actions.py",
]

MACHINE = "tests/queue/test_machine.py"
"""It reaches nearly all, and takes longer than all the others together: survivors are for it to try, by hand."""


def is_old(path: Path) -> bool:
    """Whether the code has changed since `measure` wrote this file, or it is not there."""
    changed_at = max(source.stat().st_mtime for source in ROOM.glob("*.py"))
    return not path.exists() or path.stat().st_mtime < changed_at


def measure(path: Path) -> None:
    """Run the tests once, each under its own name, in a fork: what they import would stay in this process."""
    process = os.fork()
    if process == 0:
        coverage = Coverage(data_file=str(path), source=[str(ROOM)], config_file=False)
        coverage.set_option("run:dynamic_context", "test_function")
        coverage.set_option("run:relative_files", True)
        coverage.start()
        code = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS])
        coverage.stop()
        coverage.save()
        os._exit(int(code))
    if os.waitpid(process, 0)[1]:
        raise SystemExit("The tests must pass before mutants of what they test say anything.")


class Reached:
    """Reads what `measure` has written."""

    def __init__(self, path: Path) -> None:
        data = CoverageData(str(path))
        data.read()
        self._by_module = {
            source.stem: data.contexts_by_lineno(str(source.relative_to(ROOT)))
            for source in sorted(ROOM.glob("*.py"))
        }
        self._importers = {name: set(_importers(name)) for name in self._by_module}

    def tests(self, mutant: Mutant) -> list[list[str]]:
        """The tests to try a mutant with: the file of its own name, and if it survives, those elsewhere that reach it.

        What runs at import is reached by whatever test calls a function of the module, or of one that imports it.
        """
        lines = self._by_module[mutant.module]
        contexts = {one for one in lines.get(mutant.line, ()) if one}
        if not contexts:
            for module in (mutant.module, *self._importers[mutant.module]):
                contexts |= {one for of_line in self._by_module[module].values() for one in of_line if one}
        found = {
            node_id for one in contexts if (node_id := _node_id(one)) and not node_id.startswith(MACHINE)
        }
        own = f"tests/queue/test_{mutant.module}.py"
        elsewhere = sorted(one for one in found if not one.startswith(own))
        return [tests for tests in ([own] if (ROOT / own).exists() else [], elsewhere) if tests]


def _importers(name: str) -> Iterator[str]:
    imported = re.compile(rf"^from spoils\.queue(\.{name} import| import .*\b{name}\b)", re.MULTILINE)
    for path in ROOM.glob("*.py"):
        if imported.search(path.read_text()):
            yield path.stem


def _node_id(context: str) -> str | None:
    parts = context.split(".")
    for length in range(len(parts), 0, -1):
        path = Path(*parts[:length]).with_suffix(".py")
        if (ROOT / path).is_file():
            return "::".join([str(path), *parts[length:]])
    return None
