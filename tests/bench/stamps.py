"""When jobs ran their first line: a file that they write to, by the one monotonic clock of the machine."""

import tempfile
from pathlib import Path
from typing import Self

from tests.bench.jobs import StampJob
from tests.support import eventually

LONGEST_SECONDS = 60.0


class Stamps:
    """A file for the moments of jobs that are numbered; removed at the end."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "stamps"
        self._path.touch()
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def job(self, number: int) -> StampJob:
        """A job that stamps its number."""
        return StampJob(number=number, path=str(self._path))

    def wait_for(self, number: int) -> dict[int, float]:
        """The moments (monotonic seconds) by the jobs' numbers, once `number` jobs have run."""

        def all_ran() -> list[str]:
            lines = self._path.read_text().splitlines()
            assert len(lines) >= number, f"{len(lines)} of {number} jobs ran."
            return lines

        lines = eventually(all_ran, LONGEST_SECONDS, every=0.1)
        return {int(one): float(moment) for one, moment in (line.split() for line in lines)}
