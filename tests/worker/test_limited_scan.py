"""When a worker looks for tasks under limits, and at which keys."""

import math

from spoils.queue.claim import Claim
from spoils.queue.claim_limited import LimitedClaims
from spoils.worker.limited_scan import BUSY_SECONDS, LimitedScan

CLAIM = Claim("id", "send", "SendJob", "{}", 0, 1, 0, -5, "", "")


def found(number: int = 0, reached: str = "k", busy: bool = False, **again_in: float) -> LimitedClaims:
    return LimitedClaims([CLAIM] * number, reached, again_in, busy)


def test_it_looks_when_something_has_changed_and_not_again() -> None:
    scan = LimitedScan()
    assert scan.at == math.inf
    scan.look(5.0, "a")
    scan.look(6.0)
    assert scan.at == 5.0
    keys, after = scan.begin(5.0)
    assert (keys, after) == (["a"], "")
    scan.learn(keys, found(reached="a"), limit=2, now=5.1)
    assert scan.at == math.inf
    assert scan.begin(6.0) == ([], "a")


def test_while_it_finds_something_it_looks_again() -> None:
    scan = LimitedScan()
    scan.look(5.0, "a")
    keys, _ = scan.begin(5.0)
    scan.learn(keys, found(2), limit=2, now=5.1)
    assert scan.at == 5.1
    assert scan.begin(5.1)[0] == ["a"]  # it may not have been looked at
    scan.learn(keys, found(1), limit=2, now=5.2)
    assert (scan.at, scan.begin(5.2)[0]) == (5.2, [])


def test_a_key_whose_moment_is_known_is_looked_at_then() -> None:
    scan = LimitedScan()
    scan.learn([], found(a=3.0, b=1.0), limit=2, now=5.0)
    assert scan.at == 6.0
    assert scan.begin(6.0)[0] == ["b"]
    scan.learn(["b"], found(), limit=2, now=6.0)
    assert scan.at == 8.0


def test_while_another_worker_claims_it_tries_again_soon_and_forgets_nothing() -> None:
    scan = LimitedScan()
    scan.learn([], found(b=9.0), limit=2, now=1.0)
    scan.look(5.0, "a")
    scan.learn(["a"], found(reached="z", busy=True), limit=2, now=5.0)
    assert scan.at == 5.0 + BUSY_SECONDS
    assert scan.begin(10.0) == (["a", "b"], "k") or scan.begin(10.0) == (["b", "a"], "k")
