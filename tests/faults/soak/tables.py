"""What a soak found: the one table at its end, and what it holds against the queue beside the invariants."""

from collections import Counter
from collections.abc import Sequence

from spoils.queue.rescue import CONDEMNED
from spoils.worker.liveness import UNRESPONSIVE_SECONDS
from tests.faults import invariants
from tests.faults.soak.acts import SOON_KILL, WELL_SECONDS, Acts
from tests.faults.soak.stage import Figures, Stage
from tests.faults.workers import percentile
from tests.rows import Rows

MORE_FILES = 8
MORE_MIB = 60
RERUN_SECONDS = {"kill": 5.0, SOON_KILL: 5.0 + UNRESPONSIVE_SECONDS, "freeze": 45.0}
"""Within which nearly all of a dead worker's tasks run again."""


def left_over(rows: Rows) -> dict[str, list[object]]:
    """What is not done, and what failed though no job of the stream fails by itself."""
    left = rows.all(
        "SELECT id, task_type, state, attempts, crashes, scheduled_at - now() FROM fang_tasks "
        "WHERE state NOT IN ('finished', 'failed') AND task_type <> 'every_second'"
    )
    failed = rows.all(
        "SELECT id, task_type, attempts, crashes, error_message FROM fang_tasks "
        "WHERE state = 'failed' AND error_message <> :condemned",
        condemned=CONDEMNED,
    )
    return {"a task is still not done": left, "a task failed of something but deaths": failed}


def counted_as_failed(rows: Rows) -> dict[str, list[object]]:
    """Where nothing died, no task has a retry or a crash."""
    counted = rows.all("SELECT id, retries, crashes FROM fang_tasks WHERE retries + crashes > 0")
    return {"a task's attempt counted as failed though no worker died": counted}


def leaks(samples: list[dict[int, Figures]]) -> dict[str, list[object]]:
    """The processes with more threads, files or memory than any had at the beginning."""
    # One that was started again is measured against its like.
    threads, files, memory = (max(figures) for figures in zip(*samples[0].values(), strict=True))
    grown = [
        (pid, figures)
        for pid, figures in samples[-1].items()
        if figures[0] > threads + 2 or figures[1] > files + MORE_FILES or figures[2] > memory + MORE_MIB
    ]
    return {"a worker has more threads, files or memory than at the beginning": list(grown)}


def late(acts: Acts) -> dict[str, list[object]]:
    """What took longer than it may, and exit codes that are not those of an orderly end."""
    found: dict[str, list[object]] = {}
    for fault, seconds in acts.reruns.items():
        if seconds and percentile(seconds, 99) > RERUN_SECONDS[fault]:
            found[f"1 in 100 tasks ran again later than {RERUN_SECONDS[fault]:.0f} s after a {fault}"] = [
                one for one in seconds if one > RERUN_SECONDS[fault]
            ]
    for fault, seconds in acts.well_again.items():
        found[f"{fault}: not well again within {WELL_SECONDS:.0f} s"] = [
            one for one in seconds if one > WELL_SECONDS
        ]
    # -1 stands for a code that only the parent knows.
    found["SIGTERM: an exit code other than 0"] = [
        code for code in acts.codes["SIGTERM"] if code not in (0, -1)
    ]
    return found


def report(stage: Stage, acts: Acts, rows: Rows, samples: list[dict[int, Figures]], seconds: float) -> None:
    """Print the table."""
    accepted = set(stage.accepted)
    states = dict(
        rows.all(
            "SELECT state::text, count(*) FROM fang_tasks WHERE id = ANY(:ids) GROUP BY 1", ids=list(accepted)
        )
    )
    lost = len(accepted) - sum(states.values())
    doubles = rows.value(
        "SELECT count(*) FROM (SELECT FROM audit WHERE becomes = 'finished' GROUP BY task_id HAVING count(*) > 1) AS d"
    )
    table = {
        "seconds": f"{seconds:.0f}",
        "faults": ", ".join(f"{number} {name}" for name, number in acts.done.items()) or "none",
        "accepted": f"{len(accepted)} ({len(stage.accepted)} answers, {stage.refused} refused in outages)",
        "finished": str(states.get("finished", 0)),
        "failed": f"{states.get('failed', 0)} (condemned at a third death alone)",
        "lost": str(lost),
        "two outcomes": str(doubles),
    }
    table |= {
        f"{fault} to rerun, s (p50 / p99 / max)": _spread(found)
        for fault, found in acts.reruns.items()
        if found
    }
    table |= {
        f"{fault}: well again, s (p50 / p99 / max)": _spread(found)
        for fault, found in acts.well_again.items()
    }
    table |= {f"exit codes after {name}": _codes(found) for name, found in acts.codes.items() if found}
    table |= {
        "given back at a stop, by seconds of work": str(_given_back(rows)),
        "workers declared dead": str(len(invariants.declared_dead(rows))),
        "at start (threads, files, MiB)": str(list(samples[0].values())),
        "at end": str(list(samples[-1].values())),
    }
    if acts.spared is not None:
        spared = [sample[acts.spared] for sample in samples[:-1] if acts.spared in sample]
        table["of the worker that was spared, by minute"] = str(spared)
    width = max(map(len, table))
    for name, value in table.items():
        print(f"{name:<{width}}  {value}")
    for line in acts.late:
        print(f"late rerun after a {line}")


def _spread(values: Sequence[float]) -> str:
    return f"{percentile(values, 50):.1f} / {percentile(values, 99):.1f} / {max(values):.1f} of {len(values)}"


def _codes(codes: Counter[int]) -> str:
    return ", ".join(
        f"{number} × {'unknown' if code == -1 else code}" for code, number in sorted(codes.items())
    )


def _given_back(rows: Rows) -> dict[float, int]:
    """How many jobs that ran were given back at a shutdown, by how long each takes."""
    return dict(
        rows.all(
            "SELECT coalesce((task.metadata->>'seconds')::float, 0), count(*) "
            "FROM spoils_attempts AS attempt JOIN fang_tasks AS task ON task.id = attempt.task_id "
            "WHERE attempt.outcome = 'released' AND attempt.error_class IS NULL GROUP BY 1 ORDER BY 1"
        )
    )
