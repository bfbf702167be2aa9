"""Where claims start: not at what is taken already, and yet nothing that waits is passed over for good."""

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from spoils.queue.claim import claim
from spoils.queue.claim_scan import (
    BY_AGE_EVERY,
    FARTHEST_SECONDS,
    HEAD,
    LONGEST_SECONDS,
    OLDEST,
    ClaimScan,
    Found,
    Pair,
    Place,
    Probe,
)
from tests.queue.hands import KINDS
from tests.rows import Rows

BEHIND = ("2026-01-01 00:00:00+00", HEAD[1])
EARLIER = ("2025-12-31 22:00:00+00", HEAD[1])
NOW = datetime.fromisoformat(BEHIND[0])
PAIR = ("a", 0)


def place(number: int) -> Place:
    return f"2026-02-01 00:00:{number:02}+00", f"00000000-0000-0000-0000-0000000000{number:02}"


def claimed(scan: ClaimScan, now: float, seconds: float = 0.1, limit: int = 10, **given: int) -> Probe:
    """A claim that takes this long and finds this many of each type, the last of them at `EARLIER`."""
    probe = scan.probe(now, limit)
    counts = Counter({(name, 0): number for name, number in given.items()})
    found = Found(counts, dict.fromkeys(counts, EARLIER), BEHIND)
    more = scan.learn(probe, found, limit=limit, started=now, now=now + seconds)
    assert more == (probe.sliced or counts.total() >= limit)
    return probe


def claimed_up_to(scan: ClaimScan, now: float, end: Place, *, whole: bool = False) -> None:
    """A claim of one type that ends at this place, with `whole` because nothing more is due."""
    given = Counter({PAIR: 9 if whole else 10})
    scan.learn(scan.probe(now, 10), Found(given, {PAIR: end}, BEHIND), limit=10, started=now, now=now + 0.1)


def moments() -> Iterator[float]:
    """A tenth of a second apart: too soon for another look back."""
    return (100 + number / 10 for number in range(1000))


def start(scan: ClaimScan, now: float, pair: Pair = PAIR) -> Place:
    probe = scan.probe(now, 10)
    assert not probe.looks_back
    return probe.since[probe.pairs.index(pair)]


def test_a_claim_starts_where_the_last_one_ended() -> None:
    scan, clock = ClaimScan(["a"]), moments()
    for end in (place(9), place(19)):
        claimed_up_to(scan, next(clock), end)
        assert start(scan, next(clock)) == end


def test_where_a_type_gave_all_it_had_the_next_claim_starts_shortly_before_that_moment() -> None:
    scan, clock = ClaimScan(["a"]), moments()
    claimed_up_to(scan, next(clock), place(1), whole=True)
    assert set(scan.probe(next(clock), 10).since) == {BEHIND}


def test_a_look_back_takes_a_twentieth_of_the_time_or_comes_every_ten_seconds() -> None:
    scan = ClaimScan(["a"])
    assert claimed(scan, 0.0, 0.01).looks_back
    assert not scan.probe(0.19, 10).looks_back
    assert scan.probe(0.21, 10).looks_back
    assert claimed(scan, 0.3, 0.2).looks_back
    assert not scan.probe(0.5 + 3.7, 10).looks_back
    assert claimed(scan, 5.0, 2.0).looks_back
    assert not scan.probe(7.0 + LONGEST_SECONDS - 0.1, 10).looks_back
    assert scan.probe(7.0 + LONGEST_SECONDS, 10).looks_back


def test_one_claim_in_sixteen_goes_by_age_alone_also_when_it_looks_back() -> None:
    scan, clock = ClaimScan(["a"]), itertools.count(100.0, 100.0)
    probes = [claimed(scan, next(clock)) for _ in range(BY_AGE_EVERY * 3)]
    assert [probe.by_age for probe in probes].count(True) == 3
    assert {(probe.looks_back, *set(probe.since)) for probe in probes} == {(True, HEAD)}


def test_types_that_have_work_share_a_claim_and_one_that_has_just_got_some_comes_first() -> None:
    scan, clock = ClaimScan(["a", "b", "c"]), moments()
    claimed(scan, next(clock), limit=2, a=1, b=1)
    first, second = (scan.probe(next(clock), 10) for _ in range(2))
    orders = [[name for name, level in probe.pairs if level == 0] for probe in (first, second)]
    assert sorted(orders) == [["c", "a", "b"], ["c", "b", "a"]]
    assert first.most == 5
    claimed(scan, next(clock), a=1)  # b has nothing left
    assert scan.probe(next(clock), 10).most == 10


def looked_back(scan: ClaimScan, now: float, seconds: float, given: int = 0) -> Probe:
    """The next look back, at a moment when it may come."""
    probe = claimed(scan, now, seconds, **({"a": given} if given else {}))
    assert probe.looks_back
    return probe


def sliced() -> tuple[ClaimScan, Iterator[float]]:
    """A scan whose look back took long, and moments at which the next one may come."""
    scan, clock = ClaimScan(["a"]), itertools.count(100.0, 100.0)
    whole = looked_back(scan, next(clock), 5.0)
    assert (set(whole.since), whole.until) == ({HEAD}, "infinity")
    return scan, clock


def walk(scan: ClaimScan, clock: Iterator[float], seconds: float) -> list[Probe]:
    """Slices up to one that ends now."""
    looks = [looked_back(scan, next(clock), seconds)]
    while looks[-1].until != "infinity":
        looks.append(looked_back(scan, next(clock), seconds))
    assert len(looks) < 150
    return looks


def age(moment: str) -> float:
    return (NOW - datetime.fromisoformat(moment)).total_seconds()


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.2])
def test_where_a_look_back_takes_long_the_next_ones_go_slice_by_slice_from_the_head_to_now(
    seconds: float,
) -> None:
    scan, clock = sliced()
    looks = walk(scan, clock, seconds)
    assert looks[0].since[0] == HEAD
    assert age(looks[0].until) == OLDEST.total_seconds()
    for before, after in itertools.pairwise(looks):
        assert datetime.fromisoformat(before.until) == datetime.fromisoformat(after.since[0][0])
    for look in looks[1:-1]:
        begin, end = age(look.since[0][0]), age(look.until)
        assert begin - end == pytest.approx(max(begin / 16, 4))
    # None took longer than the others: one look covers everything again.
    again = looked_back(scan, next(clock), 0.001)
    assert (again.sliced, set(again.since), again.until) == (False, {HEAD}, "infinity")


def test_where_a_slice_takes_long_the_next_ones_are_thinner_until_they_are_quick_again() -> None:
    scan, clock = sliced()
    looked_back(scan, next(clock), 0.01)  # what is older than a day

    def parts(seconds: float) -> float:
        look = looked_back(scan, next(clock), seconds)
        begin, end = age(look.since[0][0]), age(look.until)
        return begin / (begin - end)

    times = (1.0, 0.5, 0.2, 0.05, 0.05, 0.02)
    assert [parts(seconds) for seconds in times] == pytest.approx([16, 32, 64, 64, 32, 16])


@pytest.mark.parametrize(("seconds", "slow"), [(0.013, False), (0.2, True)])
def test_it_is_what_all_slices_take_together_that_keeps_it_at_slices(*, seconds: float, slow: bool) -> None:
    scan, clock = sliced()
    for _ in range(20):
        looked_back(scan, next(clock), seconds)
    walk(scan, clock, 0.01)
    assert looked_back(scan, next(clock), 0.01).sliced == slow


def test_a_slice_that_gave_as_much_as_it_might_is_gone_on_with_and_looked_at_again() -> None:
    scan, clock = sliced()
    now = next(clock)
    first = looked_back(scan, now, 0.02, given=10)
    assert start(scan, now + 0.03) == EARLIER
    again = looked_back(scan, next(clock), 0.02, given=9)
    after = looked_back(scan, next(clock), 0.02)
    assert (again.since, again.until) == (first.since, first.until)
    assert datetime.fromisoformat(after.since[0][0]) == datetime.fromisoformat(first.until)


def test_a_slice_passes_over_nothing_of_a_backlog_and_moves_its_cursor_back_only() -> None:
    scan, clock = ClaimScan(["a", "b"]), itertools.count(100.0, 100.0)
    now = next(clock)
    looked_back(scan, now, 5.0)
    old = ("2025-12-20 00:00:00+00", HEAD[1])
    claimed_up_to(scan, now + 5.1, old)
    looked_back(scan, next(clock), 0.01)
    probe = looked_back(scan, next(clock), 0.01)
    assert probe.since[0] > old
    assert ("b", 0) in probe.pairs
    assert PAIR not in probe.pairs
    # A claim that asks for it nevertheless.
    found = Found(Counter({PAIR: 10}), {PAIR: place(1)}, BEHIND)
    scan.learn(probe, found, limit=10, started=0.0, now=0.01)
    assert scan._cursors[PAIR] == old


def test_a_slice_that_found_little_moves_no_cursor() -> None:
    scan, clock = sliced()
    now = next(clock)
    looked_back(scan, now, 0.02, given=9)
    assert start(scan, now + 0.03) == BEHIND


@pytest.mark.parametrize("seconds", [3600.0, 100_000.0, 8e8, 1e300])
def test_a_notification_of_something_earlier_starts_a_walk_from_there_which_takes_turns_with_the_other(
    seconds: float,
) -> None:
    scan, clock = sliced()
    for asked in (3.0, seconds, 60.0):
        scan.look_back(asked)
    looks = [looked_back(scan, next(clock), 0.02) for _ in range(2 * 400)]
    asked_walk = [age(look.since[0][0]) for look in looks[0::2] if look.sliced]
    assert asked_walk[0] == min(seconds, FARTHEST_SECONDS) + 5
    assert looks[1].since[0] == HEAD  # the other walk goes on
    ends = [look for look in looks if look.until == "infinity"]
    assert len(ends) >= 2  # both come to now


def test_notifications_again_and_again_do_not_keep_the_walk_from_now() -> None:
    scan, clock = sliced()
    others: list[Probe] = []
    for _ in range(400):
        scan.look_back(1e6)
        look = looked_back(scan, next(clock), 0.02)
        if look.until == "infinity" and look.sliced:
            return
        others.append(look)
    pytest.fail("The walk did not come to an end.")


def test_a_slice_is_looked_at_again_after_a_claim_that_failed() -> None:
    scan, clock = sliced()
    scan.look_back(3600.0)
    tried = {scan.probe(next(clock), 10).since[0] for _ in range(4)}  # these claims fail
    assert tried == {looked_back(scan, next(clock), 0.02).since[0]}


def test_what_was_asked_for_is_remembered_where_the_look_over_everything_was_slow_or_filled() -> None:
    scan, clock = ClaimScan(["a"]), itertools.count(100.0, 100.0)
    looked_back(scan, next(clock), 0.01)
    scan.look_back(3600.0)
    assert not looked_back(scan, next(clock), 0.01, given=10).sliced
    assert not looked_back(scan, next(clock), 5.0, given=10).sliced
    assert 3605 in [age(looked_back(scan, next(clock), 0.02).since[0][0]) for _ in range(1)]


@pytest.mark.parametrize(("asked", "least", "most"), [(False, 0.04, 0.06), (True, 0.2, 0.26)])
def test_looks_back_take_five_percent_of_the_time_and_a_quarter_while_notifications_ask_for_them(
    asked: bool, least: float, most: float
) -> None:
    scan, now, looking = ClaimScan(["a"]), 0.0, 0.0
    for _ in range(3000):
        if asked:
            scan.look_back(60.0)
        seconds = 0.2 if now >= scan._look_back_at else 0.01
        looking += seconds if claimed(scan, now, seconds).looks_back else 0.0
        now += seconds
    assert least < looking / now < most


def test_what_lies_behind_is_found_slice_by_slice_wherever_it_lies(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    scan = ClaimScan(["sample"])
    rows.task()
    assert len(claim(connection, worker_id=me, scan=scan, kinds=KINDS, limit=5)[0]) == 1
    scan._look_back.learn("infinity", 5.0, filled=False)
    late = [rows.task(due_in=-seconds) for seconds in (2, 60, 5000, 10**6, 10**9)]
    connection.execute(
        text("UPDATE fang_tasks SET scheduled_at = '-infinity' WHERE id = :id"), {"id": late[-1]}
    )
    fresh = rows.task()
    found: list[UUID] = []
    for number in range(700):
        scan._look_back_at = float("inf") if number % 2 else 0.0
        claims, _ = claim(connection, worker_id=me, scan=scan, kinds=KINDS, limit=2)
        found += [one.id for one in claims]
    assert (set(found), len(found)) == ({*late, fresh}, 6)


def test_low_priority_is_not_starved_by_a_flood_of_a_higher_one(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    low = rows.task(priority=-2, due_in=-1000)
    scan = ClaimScan(["sample"])
    for _ in range(BY_AGE_EVERY):
        for _ in range(2):
            rows.task(priority=1)
        claims, _ = claim(connection, worker_id=me, scan=scan, kinds=KINDS, limit=1)
        if claims[0].id == low:
            return
    pytest.fail("The old task of low priority was not taken.")


def test_a_flood_of_one_type_leaves_another_type_its_share(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, scheduled_at) "
            """SELECT '{"type": "SampleJob"}', 'sample', now() - interval '1 hour' FROM generate_series(1, 500)"""
        )
    )
    scan = ClaimScan(["sample", "unique_sample"])
    claims, more = claim(connection, worker_id=me, scan=scan, kinds=KINDS, limit=10)
    assert more
    assert len(claims) == 10
    fresh = rows.task(task_type="unique_sample")
    claims, _ = claim(connection, worker_id=me, scan=scan, kinds=KINDS, limit=10)
    assert fresh in [one.id for one in claims]


def test_what_is_put_in_behind_the_cursor_is_found_from_the_head(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    scan = ClaimScan(["sample"])
    for _ in range(3):
        rows.task()
        assert len(claim(connection, worker_id=me, scan=scan, kinds=KINDS, limit=1)[0]) == 1
    late = rows.task(due_in=-3600)
    scan._look_back_at = 0.0  # the share of time allows it
    claims, _ = claim(connection, worker_id=me, scan=scan, kinds=KINDS, limit=1)
    assert [one.id for one in claims] == [late]


def test_in_a_claim_types_of_one_priority_take_turns(connection: Connection, rows: Rows, me: UUID) -> None:
    old, older = rows.task(due_in=-10), rows.task(due_in=-20)
    fresh = rows.task(task_type="unique_sample")
    urgent = rows.task(priority=1)
    claims, _ = claim(
        connection, worker_id=me, scan=ClaimScan(["sample", "unique_sample"]), kinds=KINDS, limit=10
    )
    assert [one.id for one in claims] == [urgent, older, fresh, old]
