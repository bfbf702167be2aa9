"""A long run under faults: jobs flow, processes die, the database restarts, and at the end every promise is checked.

It runs on a PostgreSQL of its own, which it removes, and exits with 1 where a promise is broken.
"""

import argparse
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType

from tests.faults import invariants
from tests.faults.soak import tables
from tests.faults.soak.acts import Acts
from tests.faults.soak.stage import Figures, Plan, Stage

COUNTED = {
    "kills": "kill a worker (SIGKILL) N times, each while it holds tasks",
    "terms": "stop a worker (SIGTERM, one to five times) N times",
    "freezes": "freeze a worker (SIGSTOP) until it is declared dead, N times",
    "restarts": "crash and start the database N times",
    "sessions": "end all database sessions of the workers N times",
    "listeners": "end the session in which a worker listens N times",
    "losses": "lose the answer to the commit of an enqueue, a claim and a settle, each N times",
}


def main() -> int:
    wanted = _options()
    seed = random.SystemRandom().randrange(1_000_000) if wanted.seed is None else wanted.seed
    print(f"seed {seed}", flush=True)
    dice = random.Random(seed)
    plan = Plan(
        rate=wanted.rate,
        processes=wanted.workers,
        apart=wanted.apart,
        threads=wanted.threads,
        in_flight=wanted.in_flight,
        long_jobs=wanted.long_jobs,
        proxies=wanted.losses > 0,
    )
    broken: dict[str, list[object]] = {}
    # SIGTERM ends Python at once and a shell's background job ignores SIGINT: the server would be left behind.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    with ExitStack() as stack:
        stage = Stage(stack, dice=dice, plan=plan)
        acts = Acts(stage, dice=dice, at_once=wanted.at_once)
        stage.start()
        samples = [stage.figures()]
        begun = time.monotonic()
        try:
            _counted(acts, wanted, dice)
            _by_the_minute(stage, acts, wanted.minutes, samples)
        except AssertionError as exc:
            broken["while it ran"] = [str(exc)]
        except KeyboardInterrupt:
            print("Interrupted: what follows is of the faults so far.")
        seconds = time.monotonic() - begun
        stage.drain()
        samples.append(stage.figures())
        with stage.rows() as rows:
            broken |= invariants.broken_promises(rows, set(stage.accepted))
            broken |= tables.left_over(rows) | tables.leaks(samples) | tables.late(acts)
            if not (wanted.kills or wanted.freezes or wanted.minutes):
                broken |= tables.counted_as_failed(rows)
            tables.report(stage, acts, rows, samples, seconds)
        said = stage.crew.output
    broken = {name: found for name, found in broken.items() if found}
    for name, found in broken.items():
        print(f"BROKEN  {name}: {found[:5]} ({len(found)} in all)")
    if broken:
        print(f"The workers said at last:\n{said[-6000:]}")
    print("Every promise held." if not broken else f"{len(broken)} promises were broken; seed {seed}.")
    return 1 if broken else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/soak", description=__doc__)
    for name, help_text in COUNTED.items():
        parser.add_argument(f"--{name}", type=int, default=0, metavar="N", help=help_text)
    parser.add_argument("--minutes", type=float, default=0, help="a kill a minute, a restart every ten")
    parser.add_argument("--rate", type=float, default=50, help="jobs a second (50)")
    parser.add_argument("--workers", type=int, default=4, help="worker processes (4)")
    parser.add_argument("--threads", type=int, default=8, help="threads of each (8)")
    parser.add_argument(
        "--apart",
        action="store_true",
        help="each worker a program of its own, replaced at once, not one family",
    )
    parser.add_argument(
        "--at-once", type=int, default=1, help="how many workers a signal is sent to at once (1)"
    )
    parser.add_argument("--in-flight", type=int, default=1, help="strike only while this many jobs run (1)")
    parser.add_argument(
        "--long-jobs", type=float, default=0, help="the share of jobs that no shutdown waits for (0)"
    )
    parser.add_argument("--seed", type=int, default=None, help="play a run's dice again")
    return parser.parse_args()


def _counted(acts: Acts, wanted: argparse.Namespace, dice: random.Random) -> None:
    """Every fault as often as it was asked for, in an order of the dice's."""
    # What each does, and how it is counted.
    faults: dict[str, tuple[Callable[[], None], str]] = {
        "kills": (acts.kill, "SIGKILL"),
        "terms": (acts.term, "SIGTERM"),
        "freezes": (acts.freeze, "SIGSTOP"),
        "restarts": (acts.restart, "restart"),
        "sessions": (acts.end_sessions, "all sessions ended"),
        "listeners": (acts.end_listener, "listener ended"),
        "losses": (acts.lose_replies, "answer to enqueue lost"),
    }
    rounds = 0
    while True:
        left = {
            name: missing
            for name, (_, counted_as) in faults.items()
            if (missing := getattr(wanted, name) - acts.done[counted_as]) > 0
        }
        if not left:
            return
        (name,) = dice.choices(list(left), weights=list(left.values()))
        faults[name][0]()
        rounds += 1
        if rounds % 10 == 0:
            print(f"so far: {dict(acts.done)}", flush=True)


def _by_the_minute(stage: Stage, acts: Acts, minutes: float, samples: list[dict[int, Figures]]) -> None:
    """A kill a minute, a restart of the database every ten; one worker is spared, and lives all the while."""
    if not minutes:
        return
    stage.await_workers()
    acts.spared = stage.pids()[0]
    end = time.monotonic() + minutes * 60
    minute = 0
    while (left := end - time.monotonic()) > 0:
        threading.Event().wait(min(60.0, left))
        minute += 1
        samples.append(stage.figures())
        if time.monotonic() >= end:
            break
        (acts.restart if minute % 10 == 0 else acts.kill)()
        print(f"minute {minute}: {len(stage.accepted)} accepted, {dict(acts.done)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
