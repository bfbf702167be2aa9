"""`bin/mutate`: changes `spoils.queue` in one small place at a time, and reports the changes that no test notices."""

import argparse
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path

# The trials are forks: what is loaded here, each of them need not load again.
import flask_wtf  # noqa: F401
import playwright.sync_api  # noqa: F401
import requests  # noqa: F401
import sqlalchemy.dialects.postgresql  # noqa: F401
from sqlalchemy import text

from spoils.db.embedded import EmbeddedPostgres
from tests.databases import administration, migrate_at, on_server
from tests.mutation.mutants import Mutant, mutants, mutated
from tests.mutation.reach import Reached, is_old, measure
from tests.mutation.trials import ROOM, ROOT, Trial

THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
}


def main() -> None:
    """Try mutants until the time is over. Report each survivor when it is found, and the sums at the end."""
    options = _options()
    sources = {path.stem: path.read_text() for path in sorted(ROOM.glob("*.py"))}
    every = [mutant for module, source in sources.items() for mutant in mutants(module, source)]
    random.Random(options.seed).shuffle(every)
    chosen = [one for one in every if not options.only or {one.name, one.module} & set(options.only)]
    print(f"{len(every)} mutants, {len(chosen)} of them to try in {options.seconds} s; seed {options.seed}")
    # By itself SIGTERM ends Python at once, and the server would be left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="spoils-mutants-") as home:
        server = EmbeddedPostgres(Path(home) / "server", settings=THROW_AWAY)
        os.environ["SPOILS_TEST_DATABASE_URL"] = url = server.start()
        try:
            _make_template(url)
            if is_old(options.map):
                options.map.parent.mkdir(parents=True, exist_ok=True)
                measure(options.map)
            left = _try(chosen, sources, Reached(options.map), Path(home), options)
            if options.report:
                options.report.write_text("".join(f"{line}\n" for line in sorted(left)))
        finally:
            server.remove()


def _make_template(url: str) -> None:
    os.environ["SPOILS_TEST_TEMPLATE"] = name = "template_of_mutants"
    with administration(url) as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    migrate_at(on_server(url, name))


def _try(
    chosen: list[Mutant],
    sources: Mapping[str, str],
    reached: Reached,
    home: Path,
    options: argparse.Namespace,
) -> list[str]:
    """Try them, and return a line for each that no test has killed."""
    found: list[str] = []
    ends_at = time.monotonic() + options.seconds
    left, sums = deque((one, reached.tests(one)) for one in chosen), Counter[str]()
    running: dict[Mutant, tuple[Trial, list[list[str]]]] = {}
    try:
        while running or (left and time.monotonic() < ends_at):
            while left and len(running) < options.lanes and time.monotonic() < ends_at:
                mutant, stages = left.popleft()
                if not stages:
                    found.append(_report("unreached", mutant, sums))
                    continue
                trial = Trial(
                    stages[0],
                    module=mutant.module,
                    source=mutated(sources[mutant.module], mutant),
                    output=home / mutant.name,
                    seconds=options.patience,
                )
                running[mutant] = trial, stages[1:]
            select.select([trial for trial, _ in running.values()], [], [], 1.0)  # until one of them ends
            for mutant, (trial, later) in list(running.items()):
                if outcome := trial.ended():
                    del running[mutant]
                    if outcome == "survived" and later:
                        left.appendleft((mutant, later))
                    elif outcome == "killed":
                        _report(outcome, mutant, sums, trial.killer() if options.verbose else "")
                    else:
                        found.append(_report(outcome, mutant, sums))
    finally:
        for trial, _ in running.values():
            trial.end()
    print(", ".join(f"{number} {outcome}" for outcome, number in sorted(sums.items())), f"of {sums.total()}")
    return found


def _report(outcome: str, mutant: Mutant, sums: Counter[str], killer: str = "") -> str:
    sums[outcome] += 1
    before, after = (" ".join(text.split())[:300] for text in (mutant.before, mutant.after))
    line = f"{mutant.module}.py:{mutant.line}: {outcome} {mutant.name}: {before}  ->  {after}"
    if killer or outcome != "killed":
        print(line, killer, flush=True)
    return line


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/mutate", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0, help="begin no trial after this time")
    parser.add_argument("--seed", type=int, default=1, help="the order of the mutants")
    parser.add_argument("--lanes", type=int, default=2, help="trials at once")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds until a trial counts as hung")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="files (claim) or mutants (claim:120.0)")
    parser.add_argument("--report", type=Path, help="a file to write those to that no test has killed")
    parser.add_argument(
        "--verbose", action="store_true", help="report the killed ones too, and what killed them"
    )
    parser.add_argument(
        "--map", type=Path, default=ROOT / ".spoils" / "mutation-map",
        help="which tests reach which line; measured first where the file is not there, or older than the code",
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main()
