"""Where each claim starts to scan: behind what is taken already, and now and then at the head of the index.

At the head of the claim index lie the dead entries of claimed tasks. While any session holds a snapshot open, vacuum
cannot remove them, and a claim that walks over them gets slower the longer the queue works. So each pair of task type
and priority has a cursor, and a claim starts where the last one ended. A task behind its cursor (committed late,
released, or inserted with an earlier time) is found by a look back, which starts at the head. Looks back take
5 % of the time, and up to a quarter while notifications ask for them: a rescued task must not wait for long.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from spoils.queue.claim_scope import LEVELS

Pair = tuple[str, int]
"""A task type and a priority."""
Place = tuple[str, str]
"""A moment and an id, as PostgreSQL prints them."""

HEAD_ID = "00000000-0000-0000-0000-000000000000"
HEAD: Place = ("-infinity", HEAD_ID)
BY_AGE_EVERY = 16
SHARE_OF_TIME = 0.05
ASKED_SHARE_OF_TIME = 0.25
LONGEST_SECONDS = 10.0
"""The longest time between two looks back, also where they take more than their share."""
SLOW_SECONDS = 0.25
"""A look back that takes longer is cut into slices, since nothing else is claimed meanwhile."""
PARTS = 16
"""A slice covers a sixteenth of its age; less where slices are slow."""
MOST_PARTS = 1024
LEAST_SLICE = timedelta(seconds=4)
OLDEST = timedelta(days=1)
"""The first slice covers everything that is older."""
FARTHEST_SECONDS = 30 * 365 * 24 * 3600.0
MARGIN = timedelta(seconds=5)
"""A notification names the moment of an insert but arrives at its commit."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What one claim asks: pairs in the order in which they are served, and where the scan of each starts."""

    pairs: Sequence[Pair]
    since: Sequence[Place]
    most: int  # of one pair
    until: str = "infinity"  # nothing that is due later, as PostgreSQL prints a moment
    by_age: bool = False
    looks_back: bool = False
    sliced: bool = False  # the look back covers one slice, and the claim asks nothing else


class Found(NamedTuple):
    """What a claim found: how many tasks of each pair, and the place of the last of them."""

    given: Counter[Pair]
    ends: Mapping[Pair, Place]
    behind: Place  # shortly before the claim: where a pair gave all it had, nothing is left before this


class ClaimScan:
    """One cursor for each pair, the turns of the types, and the look back.

    Not thread-safe. Times are monotonic seconds and come in as arguments.
    """

    def __init__(self, task_types: Sequence[str]) -> None:
        self._pairs = [(task_type, level) for level in LEVELS for task_type in task_types]
        self._cursors = dict.fromkeys(self._pairs, HEAD)
        self._giving: set[Pair] = set()
        self._turn = 0
        self._look_back = LookBack()
        self._look_back_at = float("-inf")
        self._asked_look_back_at = float("-inf")
        self._clock = datetime.fromtimestamp(0, UTC)  # the database's, from the first claim on

    def probe(self, now: float, limit: int, without: frozenset[str] = frozenset()) -> Probe:
        """Where to look for up to `limit` tasks, none of them of the types `without`."""
        pairs = [pair for pair in self._pairs if pair[0] not in without]
        looks_back = now >= self._look_back_at
        if looks_back and self._look_back.sliced:
            return self._slice(pairs, limit)
        self._turn += 1
        by_age = self._turn % BY_AGE_EVERY == 0  # so that a low priority is not starved
        if not by_age:
            pairs = self._in_turn(pairs)
        since = [HEAD if looks_back else self._cursors[pair] for pair in pairs]
        most = limit if by_age else self._share(limit)
        return Probe(pairs, since, most, by_age=by_age, looks_back=looks_back)

    def learn(self, probe: Probe, found: Found, *, limit: int, started: float, now: float) -> bool:
        """Take in what a claim of up to `limit` found; whether there may be more at once."""
        given = found.given
        self._clock = datetime.fromisoformat(found.behind[0])
        whole = given.total() < limit  # otherwise the last pairs were not asked, or not to their end
        more = not whole or any(number >= probe.most for number in given.values())
        if probe.looks_back:
            seconds = now - started
            self._look_back.learn(probe.until, seconds, filled=more)
            self._look_back_at = now + min(seconds * (1 / SHARE_OF_TIME - 1), LONGEST_SECONDS)
            self._asked_look_back_at = now + min(seconds * (1 / ASKED_SHARE_OF_TIME - 1), LONGEST_SECONDS)
        if probe.sliced:
            self._rewind(found, probe.most)
            return True  # the cursors were not asked
        self._cursors.update(found.ends)
        if whole:
            self._cursors |= {pair: found.behind for pair in probe.pairs if given[pair] < probe.most}
            self._giving.clear()
        self._giving |= given.keys()
        return more

    def look_back(self, seconds: float) -> None:
        """A task was put in that was due this long ago: look from there on soon."""
        self._look_back.ask(self._clock - timedelta(seconds=min(seconds, FARTHEST_SECONDS)))
        self._look_back_at = min(self._look_back_at, self._asked_look_back_at)

    def _slice(self, pairs: Sequence[Pair], limit: int) -> Probe:
        moment, until = self._look_back.window(self._clock)
        low = (moment, HEAD_ID)
        # A cursor before the slice has passed over nothing in it: in a backlog the oldest go first.
        passed = [pair for pair in pairs if self._cursors[pair] > low] or pairs
        return Probe(passed, [low] * len(passed), limit, until=until, looks_back=True, sliced=True)

    def _rewind(self, found: Found, most: int) -> None:
        """Let the next claims go on in a slice that gave as much as it might."""
        if found.given.total() >= most:
            for pair, end in found.ends.items():
                self._cursors[pair] = min(end, self._cursors[pair])

    def _in_turn(self, pairs: Iterable[Pair]) -> list[Pair]:
        """By priority; in each, those that gave nothing last time first, then the others by turns."""
        ordered: list[Pair] = []
        for _, level in groupby(pairs, key=lambda pair: pair[1]):
            of_level = list(level)
            giving = [pair for pair in of_level if pair in self._giving]
            turn = self._turn % len(giving) if giving else 0
            ordered += [pair for pair in of_level if pair not in self._giving]
            ordered += giving[turn:] + giving[:turn]
        return ordered

    def _share(self, limit: int) -> int:
        """The most of one pair, so that types of one priority that all have work get equal shares."""
        giving = Counter(level for _, level in self._giving)
        return -(-limit // max(giving.values(), default=1))


@dataclass(slots=True)
class _Walk:
    """A look back in slices: where it goes on, from there to now. One that repeats starts at the head again."""

    place: datetime | None  # None: the head
    repeats: bool


class LookBack:
    """What the next look back covers: everything while that is quick, otherwise one slice.

    In slices, one walk repeats from the head, and another one may start where a notification asked for it. They take
    turns, so that neither delays the other for long.
    """

    def __init__(self) -> None:
        self._walks: deque[_Walk] = deque()  # empty while one look covers everything
        self._parts = PARTS
        self._took: list[float] = []
        self._asked: datetime | None = None

    @property
    def sliced(self) -> bool:
        """Whether a look back covers a slice only."""
        return bool(self._walks)

    def ask(self, moment: datetime) -> None:
        """Look from this moment on soon."""
        self._asked = min(self._asked or moment, moment - MARGIN)

    def window(self, now: datetime) -> tuple[str, str]:
        """From which moment to which the next slice goes, as PostgreSQL prints them; `now` by its clock.

        The same slice again until `learn` says that it was looked at: a claim may fail.
        """
        if self._asked is not None:
            self._start_at(self._asked)
            self._asked = None
        place = self._walks[0].place
        if place is None:
            return "-infinity", _printed(now - OLDEST)
        end = place + max((now - place) / self._parts, LEAST_SLICE)
        return _printed(place), _printed(end) if end < now else "infinity"

    def learn(self, until: str, seconds: float, *, filled: bool) -> None:
        """The look took this long; `filled` if it found as much as it might, so that more may be there."""
        if not self.sliced:
            if seconds > SLOW_SECONDS:
                self._walks.append(_Walk(None, repeats=True))
            elif not filled:
                self._asked = None
            return
        if filled:
            return
        self._adapt(seconds)
        walk = self._walks.popleft()
        if until != "infinity":
            self._walks.append(_Walk(datetime.fromisoformat(until), walk.repeats))
        elif walk.repeats:
            self._end_of_walk()

    def _start_at(self, asked: datetime) -> None:
        for walk in self._walks:
            if not walk.repeats:
                walk.place = min(walk.place or asked, asked)
                return
        self._walks.appendleft(_Walk(asked, repeats=False))

    def _adapt(self, seconds: float) -> None:
        self._took.append(seconds)
        if seconds > SLOW_SECONDS:
            self._parts = min(self._parts * 2, MOST_PARTS)
        elif seconds < SLOW_SECONDS / 4:
            self._parts = max(self._parts // 2, PARTS)

    def _end_of_walk(self) -> None:
        """Back to one look over everything, if all slices together took little beyond what each takes at least."""
        quick = sum(self._took) - len(self._took) * min(self._took) <= SLOW_SECONDS
        self._took.clear()
        if quick:
            self._walks.clear()
        else:
            self._walks.append(_Walk(None, repeats=True))


def _printed(moment: datetime) -> str:
    return moment.isoformat(sep=" ")
