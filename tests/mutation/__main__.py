"""`bin/mutate`: changes `spoils.queue` in one small place after the other, and tells which changes no test minds."""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path

# The trials are forks: what is loaded here, each of them need not load again. Nothing of it imports the queue.
import flask_wtf  # noqa: F401
import playwright.sync_api  # noqa: F401
import requests  # noqa: F401
import sqlalchemy.dialects.postgresql  # noqa: F401
from sqlalchemy import make_url, text

import spoils.job
import spoils.models  # noqa: F401
from spoils.cli.composition import FOOD_TABLES
from spoils.db.embedded import EmbeddedPostgres
from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from tests.mutation.mutants import Mutant, mutants, mutated
from tests.mutation.reach import Reached, measure
from tests.mutation.trials import ROOM, ROOT, Trial

THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
}


def main() -> None:
    """Try mutants until the time is over. Each survivor is told when it is found, the sums at the end."""
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
            if not options.map.exists():
                options.map.parent.mkdir(parents=True, exist_ok=True)
                measure(options.map)
            _try(chosen, sources, Reached(options.map), Path(home), options)
        finally:
            server.remove()


def _make_template(url: str) -> None:
    os.environ["SPOILS_TEST_TEMPLATE"] = name = "template_of_mutants"
    server = make_engine(url, connections=1, application_name="tests", autocommit=True)
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    server.dispose()
    template = make_engine(
        make_url(url).set(database=name).render_as_string(hide_password=False),
        connections=1,
        application_name="tests",
    )
    migrate(template, branches=[FOOD_TABLES])
    template.dispose()


def _try(
    chosen: list[Mutant],
    sources: Mapping[str, str],
    reached: Reached,
    home: Path,
    options: argparse.Namespace,
) -> None:
    ends_at = time.monotonic() + options.seconds
    left, sums = deque((one, reached.tests(one)) for one in chosen), Counter[str]()
    running: dict[Mutant, tuple[Trial, list[list[str]]]] = {}
    try:
        while running or (left and time.monotonic() < ends_at):
            while left and len(running) < options.lanes and time.monotonic() < ends_at:
                mutant, stages = left.popleft()
                if not stages:
                    _tell("unreached", mutant, sums)
                    continue
                trial = Trial(
                    stages[0],
                    module=mutant.module,
                    source=mutated(sources[mutant.module], mutant),
                    output=home / mutant.name,
                    seconds=options.patience,
                )
                running[mutant] = trial, stages[1:]
            time.sleep(0.05)
            for mutant, (trial, later) in list(running.items()):
                if outcome := trial.ended():
                    del running[mutant]
                    if outcome == "survived" and later:
                        left.appendleft((mutant, later))
                    else:
                        _tell(outcome, mutant, sums, trial.killer() if options.verbose else "")
    finally:
        for trial, _ in running.values():
            trial.end()
    print(", ".join(f"{number} {outcome}" for outcome, number in sorted(sums.items())), f"of {sums.total()}")


def _tell(outcome: str, mutant: Mutant, sums: Counter[str], killer: str = "") -> None:
    sums[outcome] += 1
    if killer or outcome != "killed":
        before, after = (" ".join(text.split())[:300] for text in (mutant.before, mutant.after))
        print(f"{outcome} {mutant.name} line {mutant.line}: {before}  ->  {after}  {killer}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/mutate", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800.0, help="begin no trial after so long")
    parser.add_argument("--seed", type=int, default=1, help="the order of the mutants")
    parser.add_argument("--lanes", type=int, default=2, help="trials at once")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds until a trial counts as hung")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="files (claim) or mutants (claim:120.0)")
    parser.add_argument(
        "--verbose", action="store_true", help="tell of the killed ones too, and what killed them"
    )
    parser.add_argument(
        "--map", type=Path, default=ROOT / ".spoils" / "mutation-map",
        help="which tests reach which line; measured first where the file is not there, or old",
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    main()
