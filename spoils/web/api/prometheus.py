"""The reports as Prometheus metrics. `prometheus_client` knows the format; every figure is that of a report."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector

from spoils.job.outcome import Ending
from spoils.job.registry import registry
from spoils.models import WAITING, DbSession, PauseKind, TaskState
from spoils.queue import tasks
from spoils.queue.counts import count_tasks
from spoils.queue.minute_stats import PER_DOUBLING, upper_ms
from spoils.queue.pauses import paused
from spoils.reports.attempt_stats import AttemptStats, total_stats
from spoils.reports.backlog import oldest_waiting
from spoils.reports.program_connections import connections_by_program
from spoils.reports.workers import live_workers

__all__ = ["CONTENT_TYPE", "text_format"]

MOST_TYPES = 100
"""Task types with metrics of their own."""
OTHER = "other"
"""The task type under which all further types are summed up."""
OUTCOMES = tuple(ending for ending in Ending if ending not in (Ending.RELEASED, Ending.SNOOZED))
"""Those that the statistics count."""
EDGES = range(0, 22 * PER_DOUBLING + 1, PER_DOUBLING)
"""The buckets of run time that end a bucket of the histogram: 1 ms, twice as much, and so on to 70 minutes."""


@dataclass(slots=True)
class Figures:
    """Those of one task type, or of several summed up."""

    jobs: Counter[TaskState] = field(default_factory=Counter)
    oldest_due_seconds: float = 0.0
    attempts: AttemptStats = field(default_factory=AttemptStats)
    paused: int = 0


class QueueCollector(Collector):
    """Reads the reports once for each scrape."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    def collect(self) -> Iterator[Metric]:
        """All metrics, with a bounded number of labels."""
        yield from _of_types(figures_by_type(self._session))
        yield from _of_workers(self._session)
        yield _of_connections(self._session)


def text_format(session: DbSession) -> bytes:
    """All metrics in Prometheus' text format."""
    collectors = CollectorRegistry()
    collectors.register(QueueCollector(session))
    return generate_latest(collectors)


def figures_by_type(session: DbSession) -> dict[str, Figures]:
    """The figures of at most `MOST_TYPES` task types, and those of the others under `OTHER`."""
    connection = session.connection()
    now = tasks.server_now(connection)
    counts = count_tasks(connection)
    attempts = total_stats(connection)
    pauses = paused(connection, PauseKind.TASK_TYPE)
    oldest = oldest_waiting(session, [name for name, of in counts.items() if any(of[one] for one in WAITING)])

    known = {job_class.task_type for job_class in registry}
    shown = shown_types({*known, *counts, *attempts, *pauses}, known=known, lasting=attempts)
    # Those of job classes from the start, since Prometheus takes no notice of a counter's first value.
    found = {name: Figures() for name in known & shown}

    def figures_of(name: str) -> Figures:
        return found.setdefault(name if name in shown else OTHER, Figures())

    for name, of in counts.items():
        figures_of(name).jobs.update(of)
    for one in oldest:
        figures = figures_of(one.task_type)
        seconds = (now - one.oldest_due_at).total_seconds()
        figures.oldest_due_seconds = max(figures.oldest_due_seconds, seconds)
    for name, stats in attempts.items():
        figures_of(name).attempts.add(stats)
    for name in pauses:
        figures_of(name).paused += 1
    return dict(sorted(found.items()))


def shown_types(types: Collection[str], *, known: Collection[str], lasting: Collection[str]) -> set[str]:
    """At most `MOST_TYPES` of `types`: the `known` ones, which job classes have, then those that are `lasting`.

    Both sets only grow while a program runs. So a type that was once summed up with the others remains there, and their
    counters do not decrease.
    """
    return set(sorted(types, key=lambda name: (name not in known, name not in lasting, name))[:MOST_TYPES])


def _of_types(by_type: dict[str, Figures]) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(
        "spoils_jobs", "Jobs in the table, by task type and state.", labels=["task_type", "state"]
    )
    oldest = GaugeMetricFamily(
        "spoils_oldest_due_seconds",
        "How long the oldest due job has been waiting; 0 if none is due.",
        labels=["task_type"],
    )
    pauses = GaugeMetricFamily(
        "spoils_task_type_paused", "1 if the task type is paused, else 0.", labels=["task_type"]
    )
    attempts = CounterMetricFamily(
        "spoils_attempts", "Attempts that ended, by outcome.", labels=["task_type", "outcome"]
    )
    run_times = HistogramMetricFamily("spoils_run_seconds", "Run times of attempts.", labels=["task_type"])
    for name, figures in by_type.items():
        for state in TaskState:
            jobs.add_metric([name, state.value], figures.jobs[state])
        oldest.add_metric([name], figures.oldest_due_seconds)
        pauses.add_metric([name], figures.paused)
        for outcome in OUTCOMES:
            attempts.add_metric([name, outcome.value], figures.attempts.outcomes[outcome.value])
        run_times.add_metric([name], _histogram(figures.attempts), figures.attempts.ran_ms / 1000)
    yield from (jobs, oldest, pauses, attempts, run_times)


def _histogram(attempts: AttemptStats) -> list[tuple[str, float]]:
    """How many attempts took less than each edge. The edges are some of those of the stored buckets, so it is exact."""
    passed = list(accumulate(attempts.buckets[number] for number in range(EDGES[-1] + 1)))
    finite = [(str(upper_ms(number) / 1000), float(passed[number])) for number in EDGES]
    return [*finite, ("+Inf", float(attempts.buckets.total()))]


def _of_workers(session: DbSession) -> Iterator[Metric]:
    workers = live_workers(session)
    yield GaugeMetricFamily("spoils_workers", "Worker processes that are running.", value=len(workers))
    yield GaugeMetricFamily(
        "spoils_worker_capacity_jobs",
        "How many jobs the workers can run at a time.",
        value=sum(worker.threads for worker in workers),
    )
    yield GaugeMetricFamily(
        "spoils_worker_running_jobs",
        "How many jobs the workers are running.",
        value=sum(worker.running for worker in workers),
    )


def _of_connections(session: DbSession) -> Metric:
    connections = GaugeMetricFamily(
        "spoils_database_connections", "Database connections, by program.", labels=["program"]
    )
    for program, number in connections_by_program(session.connection()).items():
        connections.add_metric([program], number)
    return connections
