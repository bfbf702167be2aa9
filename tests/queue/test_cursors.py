"""Where claims start: not at what is taken already, and yet nothing that waits is passed over for good."""

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from spoils.queue.claim import claim
from spoils.queue.cursors import (
    BY_AGE_EVERY,
    HEAD,
    LONGEST_SECONDS,
    MANY,
    TASKS_PER_PAIR,
    Cursors,
    Found,
    Reach,
)
from spoils.queue.sweep import FARTHEST_SECONDS
from tests.queue.hands import KINDS
from tests.rows import Rows

BEHIND = ("2026-01-01 00:00:00+00", HEAD[1])
EARLIER = ("2025-12-31 22:00:00+00", HEAD[1])
NOTHING = Found(Counter(), {}, BEHIND)


@pytest.fixture
def me(rows: Rows) -> UUID:
    return rows.worker()


def place(number: int) -> tuple[str, str]:
    return f"2026-02-01 00:00:{number:02}+00", f"00000000-0000-0000-0000-0000000000{number:02}"


def found(
    cursors: Cursors, now: float, places: list[tuple[tuple[str, int], tuple[str, str]]], limit: int = 10
) -> bool:
    """One claim that takes a tenth of a second and finds these."""
    reach = cursors.reach(now, limit)
    seen = Found(Counter(pair for pair, _ in places), dict(places), BEHIND)
    return cursors.learn(reach, seen, limit=limit, started=now, now=now + 0.1)


def moments() -> Iterator[float]:
    """A tenth of a second after the other: too soon for another look from the head."""
    return (100 + number / 10 for number in range(1000))


@pytest.mark.parametrize(("number", "start"), [(MANY, place(19)), (MANY - 1, place(9))])
def test_a_claim_starts_where_the_last_one_ended_and_after_few_where_the_one_before_did(
    number: int, start: tuple[str, str]
) -> None:
    cursors, clock = Cursors(["a"]), moments()
    pair = ("a", 0)
    for end in (place(9), place(19)):
        assert found(cursors, next(clock), [(pair, end)] * number, limit=number)
    reach = cursors.reach(next(clock), number)
    assert not reach.from_head
    assert reach.since[reach.pairs.index(pair)] == start


def test_a_claim_by_age_looks_from_the_head_where_that_is_its_turn() -> None:
    cursors = Cursors(["a"])
    cursors.learn(cursors.reach(0.0, 10), NOTHING, limit=10, started=0.0, now=0.01)
    for _ in range(BY_AGE_EVERY - 2):
        assert not cursors.reach(0.05, 10).from_head
    by_age = cursors.reach(0.3, 10)
    assert (by_age.by_age, by_age.from_head) == (True, True)
    assert set(by_age.since) == {HEAD}


def test_where_a_type_gave_all_it_had_the_next_claim_starts_a_little_before_that_moment() -> None:
    cursors, clock = Cursors(["a"]), moments()
    assert not found(cursors, next(clock), [(("a", 0), place(1))])
    reach = cursors.reach(next(clock), 10)
    assert set(reach.since) == {BEHIND}


def test_a_look_from_the_head_takes_a_twentieth_of_the_time_or_comes_every_ten_seconds() -> None:
    cursors = Cursors(["a"])
    reach = cursors.reach(0.0, 10)
    assert reach.from_head
    cursors.learn(reach, NOTHING, limit=10, started=0.0, now=0.01)
    assert not cursors.reach(0.19, 10).from_head
    assert cursors.reach(0.21, 10).from_head
    slow = cursors.reach(0.3, 10)
    cursors.learn(slow, NOTHING, limit=10, started=0.3, now=5.3)
    assert not cursors.reach(5.3 + LONGEST_SECONDS - 0.1, 10).from_head
    assert cursors.reach(5.3 + LONGEST_SECONDS, 10).from_head


def looked_back(cursors: Cursors, now: float, seconds: float, given: int = 0) -> Reach:
    """The next look back, at a moment when it may come, which takes so long and finds so many."""
    reach = cursors.reach(now, 10)
    assert reach.from_head
    seen = Found(Counter({("a", 0): given}), {("a", 0): EARLIER} if given else {}, BEHIND)
    more = cursors.learn(reach, seen, limit=10, started=now, now=now + seconds)
    assert more or not reach.sliced  # where only a slice was looked at, what is due now is asked for at once
    return reach


def sliced() -> tuple[Cursors, Iterator[float]]:
    """Cursors whose look from the head took long, and moments at which the next one may come."""
    cursors, clock = Cursors(["a"]), itertools.count(100.0, 100.0)
    whole = looked_back(cursors, next(clock), 5.0)
    assert (set(whole.since), whole.until, cursors.sweeping) == ({HEAD}, "infinity", True)
    return cursors, clock


@pytest.mark.parametrize("seconds", [0.001, 0.02, 1.0])
def test_where_a_look_from_the_head_takes_long_the_next_ones_go_back_slice_by_slice_to_the_head(
    seconds: float,
) -> None:
    cursors, clock = sliced()
    looks = [looked_back(cursors, next(clock), seconds)]
    while looks[-1].since[0] != HEAD:
        looks.append(looked_back(cursors, next(clock), seconds))
    assert len(looks) < 150
    assert looks[0].until == "infinity"
    # Each slice ends where the one after it begins.
    assert [one.until for one in looks[1:]] == [one.since[0][0] for one in looks[:-1]]
    # None took longer than the others: all is looked at at once again.
    assert not cursors.sweeping
    assert set(looked_back(cursors, next(clock), 0.001).since) == {HEAD}


def test_while_one_slice_takes_longer_than_others_it_goes_on_in_slices() -> None:
    cursors, clock = sliced()
    for sweep in range(3):
        looked_back(cursors, next(clock), 0.3)
        while looked_back(cursors, next(clock), 0.01).since[0] != HEAD:
            pass
        assert cursors.sweeping, sweep


def test_a_slice_is_a_sixteenth_of_its_age_and_four_seconds_at_least() -> None:
    cursors, clock = sliced()
    now = datetime.fromisoformat(BEHIND[0])
    looks = [looked_back(cursors, next(clock), 0.01) for _ in range(60)]
    ends = [now, *(datetime.fromisoformat(look.since[0][0]) for look in looks)]
    for end, begin in itertools.pairwise(ends):
        assert (end - begin).total_seconds() == pytest.approx(max((now - end).total_seconds() / 16, 4))


def test_where_a_slice_takes_long_the_next_ones_are_thinner_until_they_take_little_again() -> None:
    cursors, clock = sliced()

    def width(seconds: float) -> float:
        look = looked_back(cursors, next(clock), seconds)
        until, since = (datetime.fromisoformat(one) for one in (look.until, look.since[0][0]))
        age = datetime.fromisoformat(BEHIND[0]) - until
        return (until - since) / age * 16

    for _ in range(100):  # far enough back for slices that are longer than the least
        looked_back(cursors, next(clock), 0.02)
    assert width(1.0) == pytest.approx(1)
    assert width(0.5) == pytest.approx(1 / 2)
    assert width(0.2) == pytest.approx(1 / 4)  # neither long nor short
    assert width(0.05) == pytest.approx(1 / 4)
    assert width(0.05) == pytest.approx(1 / 2)
    assert [width(0.02) for _ in range(3)] == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(("seconds", "sweeping"), [(0.003, False), (0.2, True)])
def test_it_is_what_all_slices_take_together_that_keeps_it_at_slices(seconds: float, sweeping: bool) -> None:
    cursors, clock = sliced()
    looked_back(cursors, next(clock), 0.01)
    for _ in range(20):
        looked_back(cursors, next(clock), 0.01 + seconds)
    while looked_back(cursors, next(clock), 0.01).since[0] != HEAD:
        pass
    assert cursors.sweeping == sweeping


def test_a_slice_that_gave_as_much_as_it_might_is_gone_on_with_and_looked_at_again() -> None:
    cursors, clock = sliced()
    now = next(clock)
    first = looked_back(cursors, now, 0.02, given=10)
    regular = cursors.reach(now + 0.03, 10)
    assert regular.since[regular.pairs.index(("a", 0))] == EARLIER
    again = looked_back(cursors, next(clock), 0.02, given=9)
    after = looked_back(cursors, next(clock), 0.02)
    assert (again.since[0], again.until) == (first.since[0], first.until)
    assert after.until == first.since[0][0]


def test_a_look_at_a_slice_passes_over_nothing_of_a_flood() -> None:
    cursors, clock = Cursors(["a", "b"]), itertools.count(100.0, 100.0)
    looked_back(cursors, now := next(clock), 5.0)
    old = ("2025-12-31 23:00:00+00", HEAD[1])
    seen = Found(Counter({("a", 0): MANY}), {("a", 0): old}, BEHIND)
    cursors.learn(cursors.reach(now + 5.1, MANY), seen, limit=MANY, started=now + 5.1, now=now + 5.2)
    slice_ = cursors.reach(next(clock), 10)
    assert slice_.sliced
    assert ("a", 0) not in slice_.pairs
    assert ("b", 0) in slice_.pairs
    # And where it is asked for after all, its cursor goes back only.
    late = Found(Counter({("a", 0): 10}), {("a", 0): place(1)}, BEHIND)
    cursors.learn(slice_, late, limit=10, started=0.0, now=0.01)
    assert cursors._cursors["a", 0].since == old


def test_a_look_at_a_slice_moves_no_cursor_and_takes_no_turn() -> None:
    cursors, clock = sliced()
    now = next(clock)
    looked_back(cursors, now, 0.02, given=9)
    assert set(cursors.reach(now + 0.03, 10).since) == {BEHIND}
    assert set(cursors.places(next(clock)).values()) == {BEHIND}


NOW = datetime.fromisoformat(BEHIND[0])


def seconds_back(moment: str) -> float:
    return (NOW - datetime.fromisoformat(moment)).total_seconds()


def test_word_of_something_earlier_leads_there_and_on_to_now_in_turn_with_the_slices() -> None:
    cursors, clock = sliced()
    before = looked_back(cursors, next(clock), 0.02)
    for seconds in (3.0, 3600.0, 60.0):
        cursors.look_back(seconds)
    detour, sweep = [], [before]
    while not detour or detour[-1].until != "infinity":
        detour.append(looked_back(cursors, next(clock), 0.02))
        sweep.append(looked_back(cursors, next(clock), 0.02))
    assert seconds_back(detour[0].since[0][0]) == 3605
    assert seconds_back(detour[0].until) == 3600 - 3600 / 16
    for one, other in itertools.pairwise(detour):
        assert seconds_back(one.until) == pytest.approx(seconds_back(other.since[0][0]) - 5)
    assert len(detour) < 100
    # Meanwhile the sweep went on, and now it is alone again.
    sweep.append(looked_back(cursors, next(clock), 0.02))
    assert [one.until for one in sweep[1:]] == [one.since[0][0] for one in sweep[:-1]]


@pytest.mark.parametrize("seconds", [100_000.0, 8e8, 1e300])
def test_word_of_something_that_is_older_than_a_day_leads_there_too_and_no_look_goes_over_all(
    seconds: float,
) -> None:
    cursors, clock = sliced()
    cursors.look_back(seconds)
    there = looked_back(cursors, next(clock), 0.02)
    age = min(seconds, FARTHEST_SECONDS)
    assert seconds_back(there.since[0][0]) == age + 5
    assert seconds_back(there.until) == pytest.approx(age * 15 / 16)


def test_word_of_places_again_and_again_does_not_keep_the_sweep_from_the_head() -> None:
    cursors, clock = sliced()
    for _ in range(400):
        cursors.look_back(1e6)
        if looked_back(cursors, next(clock), 0.02).since[0] == HEAD:
            return
    pytest.fail("The sweep did not come to the head.")


def test_a_place_is_kept_until_a_claim_has_looked_there() -> None:
    cursors, clock = sliced()
    cursors.look_back(3600.0)
    tried = [cursors.reach(next(clock), 10).since[0] for _ in range(4)]  # these claims fail
    (place,) = {moment for moment, _ in tried if seconds_back(moment) > 10}
    assert seconds_back(place) == 3605
    looks = [looked_back(cursors, next(clock), 0.02) for _ in range(2)]
    assert place in [look.since[0][0] for look in looks]


def test_a_place_is_kept_where_the_look_over_all_was_slow_and_came_to_no_end() -> None:
    cursors, clock = Cursors(["a"]), itertools.count(100.0, 100.0)
    looked_back(cursors, next(clock), 0.01)
    cursors.look_back(3600.0)
    assert not looked_back(cursors, next(clock), 5.0, given=10).sliced
    looks = [looked_back(cursors, next(clock), 0.02) for _ in range(2)]
    assert 3605 in [seconds_back(look.since[0][0]) for look in looks]


def test_word_of_other_types_is_kept_until_a_claim_has_asked_them() -> None:
    types = [f"type_{number}" for number in range(10)]
    cursors, clock = Cursors(types), moments()
    giving = (types[3], 0)
    assert found(cursors, next(clock), [(giving, place(number)) for number in range(10)])
    cursors.look_wide()
    for _ in range(2):
        assert len(cursors.reach(next(clock), 10).pairs) == 50, "the first of these claims fails"


def test_word_of_something_earlier_is_unfinished_until_a_claim_has_looked_there() -> None:
    cursors, now = Cursors(["a"]), 100.0
    assert not looked_back(cursors, now, 0.2).sliced
    assert not cursors.sweeping
    cursors.look_back(60.0)
    assert not cursors.reach(now + 1, 10).from_head, "that would exceed the share of time"
    assert cursors.sweeping
    looked_back(cursors, now + 5, 0.2)
    assert not cursors.sweeping


def test_word_of_something_earlier_does_not_exceed_the_share_of_time() -> None:
    cursors, now, looking = Cursors(["a"]), 0.0, 0.0
    for _ in range(3000):
        cursors.look_back(60.0)
        reach = cursors.reach(now, 10)
        seconds = 0.2 if reach.from_head else 0.01
        cursors.learn(reach, NOTHING, limit=10, started=now, now=now + seconds)
        looking += seconds if reach.from_head else 0.0
        now += seconds
    assert looking / now < 0.06


def test_what_lies_behind_is_found_slice_by_slice_wherever_it_lies(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    cursors = Cursors(["sample"])
    rows.task()
    assert len(claim(connection, worker_id=me, cursors=cursors, kinds=KINDS, limit=5)[0]) == 1
    cursors._sweep.learn(5.0, filled=False)
    late = [rows.task(due_in=-seconds) for seconds in (2, 60, 5000, 10**6, 10**9)]
    connection.execute(
        text("UPDATE fang_tasks SET scheduled_at = '-infinity' WHERE id = :id"), {"id": late[-1]}
    )
    fresh = rows.task()
    found: list[UUID] = []
    for _ in range(350):
        cursors._head_again_at = 0.0
        claims, _ = claim(connection, worker_id=me, cursors=cursors, kinds=KINDS, limit=2)
        found += [one.id for one in claims]
    assert (set(found), len(found)) == ({*late, fresh}, 6)


def test_types_that_have_work_share_a_claim_and_one_that_has_just_got_some_comes_first() -> None:
    cursors, clock = Cursors(["a", "b", "c"]), moments()
    assert found(cursors, next(clock), [(("a", 0), place(1)), (("b", 0), place(2))], limit=2)
    reach = cursors.reach(next(clock), 10)
    of_level = [task_type for task_type, level in reach.pairs if level == 0]
    assert of_level[0] == "c"
    assert reach.most == 5


def test_many_quiet_pairs_are_asked_seldom_unless_the_claim_is_large_or_something_was_put_in() -> None:
    types = [f"type_{number}" for number in range(10)]  # fifty pairs
    cursors, clock = Cursors(types), moments()
    giving = (types[3], 0)
    full = [(giving, place(number)) for number in range(10)]
    assert found(cursors, next(clock), full)
    assert cursors.reach(now := next(clock), 10).pairs == [giving]
    assert len(cursors.reach(now, 50 * TASKS_PER_PAIR).pairs) == 50
    cursors.look_wide()
    assert found(cursors, now, full)
    assert cursors.reach(next(clock), 10).pairs == [giving]
    # Once it has nothing left it is as quiet as the others, where one of them gives.
    other = (types[5], 0)
    assert not found(cursors, next(clock), [])
    assert found(cursors, next(clock), [(other, place(number)) for number in range(10)])
    assert cursors.reach(next(clock), 10).pairs == [other]


def test_one_claim_in_sixteen_goes_by_age_alone() -> None:
    cursors, clock = Cursors(["a"]), moments()
    by_age = [cursors.reach(next(clock), 10).by_age for _ in range(BY_AGE_EVERY * 3)]
    assert by_age.count(True) == 3


def test_low_priority_is_not_starved_by_a_flood_of_a_higher_one(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    low = rows.task(priority=-2, due_in=-1000)
    cursors = Cursors(["sample"])
    for _ in range(BY_AGE_EVERY):
        for _ in range(2):
            rows.task(priority=1)
        claims, _ = claim(connection, worker_id=me, cursors=cursors, kinds=KINDS, limit=1)
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
    cursors = Cursors(["sample", "unique_sample"])
    claims, more = claim(connection, worker_id=me, cursors=cursors, kinds=KINDS, limit=10)
    assert more
    assert len(claims) == 10
    fresh = rows.task(task_type="unique_sample")
    claims, _ = claim(connection, worker_id=me, cursors=cursors, kinds=KINDS, limit=10)
    assert fresh in [one.id for one in claims]


def test_what_is_put_in_behind_the_cursor_is_found_from_the_head(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    cursors = Cursors(["sample"])
    for _ in range(3):
        rows.task()
        assert len(claim(connection, worker_id=me, cursors=cursors, kinds=KINDS, limit=1)[0]) == 1
    late = rows.task(due_in=-3600)
    cursors._head_again_at = 0.0  # the share of time allows it
    cursors.look_back(3600)
    claims, _ = claim(connection, worker_id=me, cursors=cursors, kinds=KINDS, limit=1)
    assert [one.id for one in claims] == [late]


def test_in_a_claim_types_of_one_priority_take_turns(connection: Connection, rows: Rows, me: UUID) -> None:
    old, older = rows.task(due_in=-10), rows.task(due_in=-20)
    fresh = rows.task(task_type="unique_sample")
    urgent = rows.task(priority=1)
    claims, _ = claim(
        connection, worker_id=me, cursors=Cursors(["sample", "unique_sample"]), kinds=KINDS, limit=10
    )
    assert [one.id for one in claims] == [urgent, older, fresh, old]
