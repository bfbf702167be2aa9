"""Where the next claim starts to look: behind what is taken already, and now and then from the head.

At the head of the claim index lie the dead entries of what was claimed, and while anybody holds a snapshot open they
stay: walking over them at every claim is what makes a queue in a table slow down under load. So a claim starts where
the last one ended, and after few tasks where the one before that did. What was committed late, given back, or put in
with an earlier time may lie before that; claims from the head find it, as often as one twentieth of the time allows,
in one look or, where that takes long, slice by slice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from spoils.queue.claim_scope import LEVELS
from spoils.queue.sweep import FARTHEST_SECONDS, Sweep

Pair = tuple[str, int]
"""A task type and a priority."""
Place = tuple[str, str]
"""A moment and an id, as PostgreSQL prints them."""

HEAD_ID = "00000000-0000-0000-0000-000000000000"
HEAD: Place = ("-infinity", HEAD_ID)
FEW_PAIRS = 20
TASKS_PER_PAIR = 4
"""A claim of so many tasks costs twenty times what probing one pair in vain does."""
MANY = 100
"""After a claim of so many of a pair the next one starts at its end. After fewer it walks over them once more, and
finds what was committed a moment late."""
BY_AGE_EVERY = 16
SHARE_OF_TIME = 0.05
LONGEST_SECONDS = 10.0
"""After so long a claim looks from the head though it takes more than its share of the time."""
NEAR_SECONDS = 1.0
"""The head is near where so long after a claim from it the next one may come."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What one claim probes: arrays of equal length, one item for each pair of type and priority, in the order in which
    they are served; and the most that one pair may give."""

    pairs: Sequence[Pair]
    since: Sequence[Place]
    most: int
    until: str = "infinity"  # nothing that is due later, as PostgreSQL prints a moment
    by_age: bool = False
    from_head: bool = True
    wide: bool = True
    sliced: bool = False  # it looks back over one slice of time, and says nothing of the rest


@dataclass(frozen=True, slots=True)
class Found:
    """What a claim found: how many of each pair, and the place of the last of them; and a place that is a little before
    the moment of the claim: where a pair gave all it had, whatever was committed by then lies behind that."""

    given: Counter[Pair]
    ends: Mapping[Pair, Place]
    behind: Place


class Cursors:
    """One cursor for each pair of type and priority, the turns of the types, and the turns of looking from the head.

    Not for several threads at once. Times are monotonic seconds, and come in as arguments.
    """

    def __init__(self, task_types: Sequence[str]) -> None:
        self._pairs = [(task_type, level) for level in LEVELS for task_type in task_types]
        self._cursors = {pair: _Cursor() for pair in self._pairs}
        self._giving: set[Pair] = set()
        self._turn = 0
        self._short = True
        self._quiet = False
        self._told = False
        self._asks_wide = False
        self._head_at = float("-inf")
        self._head_again_at = float("-inf")
        self._wide_again_at = float("-inf")
        self._sweep = Sweep()
        self._clock = datetime.fromtimestamp(0, UTC)  # the database's, from the first claim on

    @property
    def quiet(self) -> bool:
        """Whether the last claim asked all pairs, and left nothing."""
        return self._quiet

    @property
    def sweeping(self) -> bool:
        """Whether something behind is still to be looked at, soon or in many looks."""
        return not self._sweep.whole or self._sweep.asked

    def places(self, now: float) -> dict[Pair, Place]:
        """Where to look for what is due: where the last claims ended, or at the head where it is near."""
        from_head = self._sweep.whole and self._head_again_at <= now + NEAR_SECONDS
        return dict(zip(self._pairs, self._since(self._pairs, from_head), strict=True))

    def reach(self, now: float, limit: int, without: frozenset[str] = frozenset()) -> Reach:
        """Where to look for up to `limit` tasks, none of them of the types `without`."""
        known = [pair for pair in self._pairs if pair[0] not in without] if without else self._pairs
        from_head = now >= min(self._head_again_at, self._head_at + LONGEST_SECONDS)
        if from_head:
            moment, until = self._sweep.window(self._clock)
            if not self._sweep.whole:
                return self._slice(known, (moment, HEAD_ID), until, limit)
        self._turn += 1
        if self._told:
            self._told, self._asks_wide = False, True
        if self._turn % BY_AGE_EVERY == 0:
            return Reach(known, self._since(known, from_head), limit, by_age=True, from_head=from_head)
        few = len(known) <= max(FEW_PAIRS, limit // TASKS_PER_PAIR)
        wide = from_head or self._asks_wide or self._short or few or now >= self._wide_again_at
        pairs = self._in_turn(known if wide else self._giving.intersection(known))
        return Reach(pairs, self._since(pairs, from_head), self._share(limit), from_head=from_head, wide=wide)

    def learn(self, reach: Reach, found: Found, *, limit: int, started: float, now: float) -> bool:
        """Take in what a claim of up to `limit` found there; whether there may be more at once."""
        given = found.given
        self._clock = datetime.fromisoformat(found.behind[0])
        if reach.from_head:
            filled = given.total() >= limit or any(number >= reach.most for number in given.values())
            self._sweep.learn(now - started, filled=filled)
            self._head_at, self._head_again_at = now, self._after(now - started, now)
        if reach.sliced:
            self._go_back(reach, found, limit)
            return True  # the cursors were not asked
        whole = given.total() < limit  # else the last pairs were not asked, or not to the end
        more = not whole or any(number >= reach.most for number in given.values())
        for pair, end in found.ends.items():
            self._cursors[pair].advance(end, many=given[pair] >= MANY)
        self._giving |= given.keys()
        if whole:
            for pair in reach.pairs:
                if not given[pair]:
                    self._giving.discard(pair)
                if given[pair] < reach.most:
                    self._cursors[pair].settle(found.behind)
        self._short = not more
        self._quiet = reach.wide and not more
        if reach.wide:
            self._asks_wide = False  # only now: the claim might have failed
            self._wide_again_at = self._after(now - started, now)
        return more

    def look_wide(self) -> None:
        """Something was put in, of any type: ask all pairs at the next claim. Any thread may call it."""
        self._told = True

    def look_back(self, seconds: float) -> None:
        """Something was put in that was due so long ago: look there soon, within the share of time of such looks.

        Any thread may call it.
        """
        self._sweep.detour(self._clock - timedelta(seconds=min(seconds, FARTHEST_SECONDS)))

    def _slice(self, known: Sequence[Pair], low: Place, until: str, limit: int) -> Reach:
        # Of a flood whose cursor is older than the slice nothing in it was passed over: the oldest go first.
        behind = [pair for pair in known if self._cursors[pair].since > low] or known
        return Reach(behind, [low] * len(behind), limit, until=until, sliced=True)

    def _go_back(self, reach: Reach, found: Found, limit: int) -> None:
        """A backlog behind the cursors: what gave as much as it might, the next claims go on with."""
        for pair, end in found.ends.items():
            filled = found.given[pair] >= reach.most or found.given.total() >= limit
            if filled and end < self._cursors[pair].since:
                self._cursors[pair].advance(end, many=True)
                self._giving.add(pair)

    def _after(self, seconds: float, now: float) -> float:
        """When a look that took so long may come again."""
        return now + seconds * (1 / SHARE_OF_TIME - 1)

    def _since(self, pairs: Iterable[Pair], from_head: bool) -> list[Place]:
        return [HEAD if from_head else self._cursors[pair].since for pair in pairs]

    def _in_turn(self, pairs: Iterable[Pair]) -> list[Pair]:
        """By priority; in each, those that gave nothing last time first, then the others by turns."""
        if not self._giving:
            return list(pairs)
        levels: dict[int, list[Pair]] = {}
        for pair in pairs:
            levels.setdefault(pair[1], []).append(pair)
        ordered = []
        for level in sorted(levels, reverse=True):
            quiet = [pair for pair in levels[level] if pair not in self._giving]
            giving = sorted(pair for pair in levels[level] if pair in self._giving)
            turn = self._turn % len(giving) if giving else 0
            ordered += [*quiet, *giving[turn:], *giving[:turn]]
        return ordered

    def _share(self, limit: int) -> int:
        """What one pair may give, so that types of one priority that all have work get alike."""
        levels: dict[int, int] = {}
        for _, level in self._giving:
            levels[level] = levels.get(level, 0) + 1
        return -(-limit // max(levels.values(), default=1))


@dataclass(slots=True)
class _Cursor:
    since: Place = HEAD
    end: Place = HEAD

    def advance(self, end: Place, *, many: bool) -> None:
        # A claim from the head may end before the one before it, and leave some in between.
        again = min(self.end, end) if self.end != HEAD else end
        self.since, self.end = end if many else again, end

    def settle(self, behind: Place) -> None:
        self.since = self.end = behind
