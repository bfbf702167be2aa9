"""`bin/bench`: what the queue costs, as ratios within one run."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import (
    beside_fang,
    drain,
    enqueueing,
    flat,
    floor,
    history,
    latency,
    machine,
    pages,
    peers,
    sharing,
    smallness,
)
from tests.bench.server import administer, database, server

Row = tuple[str, str, str]
"""What was measured, what came out, and its relation to the floor."""


class Bench:
    """One run: a server, a database on it, how much is done, and what came out."""

    def __init__(self, url: str, options: argparse.Namespace) -> None:
        self.url = url
        self.jobs: int = options.jobs
        self.rounds: int = options.rounds
        self.rows: int = options.rows
        self.seconds: float = options.seconds
        self.minutes: float = options.minutes
        self.peers: bool = options.peers
        self.results: dict[str, Any] = {}

    def drain(self) -> Iterator[Row]:
        """No-op jobs from a backlog, by one worker process and by two, pair by pair with the bare floor."""
        contenders: dict[str, Callable[[], float]] = {
            "bare batches of 100, two threads": lambda: floor.batch_drain(self.url, self.jobs),
            "one process, 5 threads": lambda: drain.drain(self.url, self.jobs),
            "two processes, 5 threads each": lambda: drain.drain(self.url, self.jobs, processes=2),
        }
        if self.peers:
            contenders |= peers.drains(self.url, self.jobs)
        yield from self._pairs(contenders, "jobs/s")
        for peer in [*contenders][3:]:
            ours = "two processes, 5 threads each" if "two processes" in peer else "one process, 5 threads"
            ratios = [one / other for one, other in zip(self.results[ours], self.results[peer], strict=True)]
            yield (f"{ours}, to {peer}", "", f"{median(ratios):.2f}")

    def marks(self) -> Iterator[Row]:
        """Every mark in one table: drains beside the peers, pick-up, enqueue, POST, and an idle worker's memory."""
        for scenario in (self.drain, self.latency, self.enqueue):
            yield from scenario()
        found = self.results["idle"] = smallness.idle(self.url, self.seconds)
        yield ("idle worker", f"{found['resident MiB']:.1f} MiB resident", "")

    def counts(self) -> Iterator[Row]:
        """One process with the triggers that keep the counts by type and state true, and without."""
        yield from self._pairs(
            {
                "without them": lambda: drain.uncounted(self.url, self.jobs),
                "with them": lambda: drain.drain(self.url, self.jobs, left=drain.any_left),
            },
            "jobs/s",
        )

    def latency(self) -> Iterator[Row]:
        """From commit to the job's first line on an idle worker, a job each tenth of a second."""
        number = int(self.seconds * 10)
        bare = latency.percentiles(latency.bare_pick_up(self.url, number))
        ours = latency.percentiles(latency.pick_up(self.url, number))
        polled = latency.percentiles(latency.polled(self.url, number))
        self.results["latency"] = {"bare": bare, "ours": ours, "polled": polled}
        yield ("a bare LISTEN-and-claim loop", _figures(bare, "ms"), "1")
        yield ("pick-up", _figures(ours, "ms"), ", ".join(f"{k} {ours[k] / bare[k]:.2f}" for k in ours))
        yield ("pick-up by polling alone", _figures(polled, "ms"), "")

    def enqueue(self) -> Iterator[Row]:
        """One by one with one client and with four, many at once, and over HTTP."""
        with drain.worker(self.url, WORKER_PROCESSES="5", WORKER_THREADS="1"):
            latency.await_idle_worker(self.url)
            for clients in (1, 4):
                yield from self._pairs(
                    {
                        f"bare INSERT, {clients} client(s), five workers listen": lambda n=clients: (
                            enqueueing.bare_inserts(self.url, n, self.seconds / 4)
                        ),
                        f"enqueue, {clients} client(s)": lambda n=clients: enqueueing.one_by_one(
                            self.url, n, self.seconds / 4
                        ),
                    },
                    "jobs/s",
                )
        yield from self._pairs(
            {
                "COPY of 20,000": lambda: self._empty(lambda: enqueueing.copy(self.url, 20_000)),
                "enqueue_many of 20,000": lambda: self._empty(
                    lambda: enqueueing.many(self.url, 20_000, enqueueing.plain)
                ),
                "enqueue_many of 20,000 unique": lambda: self._empty(
                    lambda: enqueueing.many(self.url, 20_000, enqueueing.unique)
                ),
            },
            "jobs/s",
        )
        yield from self._pairs(
            {
                "bare INSERT, 4 clients": lambda: enqueueing.bare_inserts(self.url, 4, self.seconds / 4),
                "POST fetch-product, 4 clients": lambda: enqueueing.over_http(self.url, 4, self.seconds / 4),
            },
            "jobs/s",
        )

    def flat(self) -> Iterator[Row]:
        """The drain beside many rows that are not its own, and with many types."""
        yield from self._pairs(
            {
                "an empty table": lambda: drain.drain(self.url, self.jobs),
                "200 further types": lambda: flat.with_many_types(self.url, self.jobs, 200),
                f"{self.rows:,} in the future": lambda: flat.beside_the_future(
                    self.url, self.jobs, self.rows
                ),
                f"{self.rows:,} of a foreign type": lambda: flat.beside_a_foreign_backlog(
                    self.url, self.jobs, self.rows
                ),
                f"{self.rows * 10:,} finished": lambda: flat.beside_history(
                    self.url, self.jobs, self.rows * 10
                ),
            },
            "jobs/s",
        )

    def snapshot(self) -> Iterator[Row]:
        """Rounds of the drain while another session holds one snapshot open; beside the same worker's before it."""
        self._empty(lambda: None)
        before, held = flat.under_a_snapshot(self.url, self.jobs, 6, self.minutes)
        self.results["snapshot"] = {"before": before, "held": held}
        base = median(before)
        yield (f"{len(before)} rounds before", _spread(before, "jobs/s"), "")
        part = math.ceil(len(held) / 6)
        for start in range(0, len(held), part):
            rates = held[start : start + part]
            yield (
                f"rounds {start + 1} to {start + len(rates)}",
                _spread(rates, "jobs/s"),
                f"{median(rates) / base:.2f}",
            )
        yield (f"all {len(held)}", _spread(held, "jobs/s"), f"{median(held) / base:.2f}")

    def fairness(self) -> Iterator[Row]:
        """A fresh task of another type beside a flood; from its commit to the job's first line."""
        waits = latency.percentiles(sharing.fresh_beside_a_flood(self.url, self.jobs * 4, 100))
        self.results["fairness"] = waits
        yield ("a fresh task beside a flood", _figures(waits, "ms"), "")

    def slow(self) -> Iterator[Row]:
        """Two workers, and a backlog of jobs of a second."""
        found = sharing.slow_jobs_between_two(self.url, 60, 1.0)
        self.results["slow"] = found
        yield (
            "60 jobs of 1 s, two workers of 5",
            f"shares {found['shares']}, {found['seconds']:.1f} s",
            f"{found['seconds'] / found['least']:.2f}",
        )  # type: ignore[operator]

    def mix(self) -> Iterator[Row]:
        """20 threads with sessions, HTTP calls and failures."""
        share = sharing.realistic_mix(self.url, 12_000)
        self.results["mix"] = share
        yield ("time of 20 threads that goes to jobs", f"{share:.1%}", "")

    def fang(self) -> Iterator[Row]:
        """Four workers of the crate fang (bench/fang) and four of ours on one table, without the guard and with it."""
        for name, guard in (("without the guard", False), ("with the guard", True)):
            administer(self.url, "TRUNCATE fang_tasks, spoils_minutes, spoils_attempts")
            found = self.results[name] = beside_fang.share(self.url, self.jobs, guard=guard)
            yield (
                f"{self.jobs:,} tasks, {name}",
                ", ".join(f"{what} {number:,.0f}" for what, number in found.items()),
                "",
            )

    def memory(self) -> Iterator[Row]:
        """An idle worker, and one that has performed many jobs."""
        found = smallness.idle(self.url, self.seconds)
        sizes = smallness.growth(self.url, self.rows)
        self.results["memory"] = {**found, "growth": sizes}
        yield ("idle worker", ", ".join(f"{name} {value:.2f}" for name, value in found.items()), "")
        yield (
            f"resident over {self.rows:,} jobs",
            f"{sizes[0]:.0f} → {sizes[-1]:.0f} MiB",
            f"{sizes[-1] / sizes[0]:.2f}",
        )

    def pages(self) -> Iterator[Row]:
        """Each page of the dashboard beside ten times `--rows` that finished and a tenth that failed and that wait."""
        history.fill(self.url, finished=self.rows * 10, failed=self.rows // 10, waiting=self.rows // 10)
        self.results["pages"] = {}
        with pages.dashboard(self.url) as seen:
            for taken in seen.takes(self.rounds * 10):
                self.results["pages"][taken.name] = {
                    "p50": taken.p50,
                    "p95": taken.p95,
                    "grown": taken.grown,
                    "bytes": taken.bytes,
                }
                yield (
                    taken.name,
                    f"p50 {taken.p50:.0f}, p95 {taken.p95:.0f} ms",
                    f"{taken.grown / smallness.MIB:.1f} MiB",
                )
            self.results["pages"] |= (afterwards := seen.afterwards())
        for name, number in afterwards.items():
            yield (name, f"{number:,.1f}", "")

    def _pairs(self, contenders: dict[str, Callable[[], float]], unit: str) -> Iterator[Row]:
        """Round by round, each after the other, so that a noisy minute meets all of them."""
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(self.rounds):
            for name, contender in contenders.items():
                rates[name].append(contender())
        self.results |= rates
        base = next(iter(rates.values()))
        for name, found in rates.items():
            ratio = median(one / other for one, other in zip(found, base, strict=True))
            yield (
                name,
                _spread(found, unit),
                f"{ratio:.2f}",
            )

    def _empty(self, then: Callable[[], Any]) -> Any:
        administer(self.url, "TRUNCATE fang_tasks, spoils_minutes, spoils_attempts", "CHECKPOINT")
        return then()


SCENARIOS = (
    "marks",
    "fang",
    "drain",
    "counts",
    "latency",
    "enqueue",
    "flat",
    "snapshot",
    "fairness",
    "slow",
    "mix",
    "memory",
    "pages",
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__)
    parser.add_argument(
        "scenarios",
        nargs="*",
        choices=[*SCENARIOS, []],
        help=f"of {', '.join(SCENARIOS)}; all but the first two",
    )
    parser.add_argument("--database-url", help="a server to measure on, where a database is made and dropped")
    parser.add_argument("--jobs", type=int, default=60_000, help="of one drain")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="of a backlog beside it; ten times as much history"
    )
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="how long a snapshot is held; six drains at the least"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of what is measured by time")
    parser.add_argument(
        "--peers",
        action="store_true",
        help="other queues too: PgQueuer from .venv, graphile-worker and pg-boss where Node is there",
    )
    parser.add_argument("--json", type=Path, help="a file for all figures")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    with server(options.database_url) as server_url:
        results["machine"] = machine.description(server_url)
        print(results["machine"], flush=True)
        for name in options.scenarios or SCENARIOS[2:]:
            with database(server_url) as url:
                bench = Bench(url, options)
                scenario = getattr(bench, name)
                print(f"\n{name}: {scenario.__doc__}\n\n| what | median | ratio |\n|---|---|---|", flush=True)
                for row in scenario():
                    print(f"| {' | '.join(row)} |", flush=True)
                results[name] = bench.results
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))
    return 0


def _spread(values: Sequence[float], unit: str) -> str:
    return f"{median(values):,.0f} {unit} ({min(values):,.0f} to {max(values):,.0f})"


def _figures(values: dict[str, float], unit: str) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in values.items()) + f" {unit}"


if __name__ == "__main__":
    sys.exit(main())
