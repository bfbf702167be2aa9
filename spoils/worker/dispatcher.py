"""When to claim, and how much: as much as there are threads that will soon be free, and async jobs that may begin."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Engine

from spoils.queue.claim import Claim, claim, claim_suspect
from spoils.queue.claim_limited import SWEEP, LimitedClaims, claim_limited, due_keys, suspect_keys
from spoils.queue.claim_scan import ClaimScan
from spoils.queue.claim_scope import COMMON
from spoils.queue.release import release, release_strays
from spoils.worker.claim_connection import ClaimConnection
from spoils.worker.event_loop import EventLoop
from spoils.worker.in_flight import InFlight
from spoils.worker.limited_scan import LimitedScan
from spoils.worker.loop import Loop
from spoils.worker.pool import Pool

log = logging.getLogger("spoils.worker")

POLL_SECONDS = 1.0
RECHECK_SECONDS = 0.005
RECHECK_UNTIL_SECONDS = 0.04
"""Of several inserts at once only one notifies. So claims follow a notification after 5, 10, 20 and 40 ms."""
STUCK_SECONDS = 0.25
"""A prefetched claim that has not started for this long is released: other workers may be free."""
MAKE_ROOM_SECONDS = 300.0
"""How long to claim nothing for a suspect's sake before claiming again for as long."""
MOST_IN_FLIGHT = 2000
"""Claims in hand, including performed ones that are not settled: a slow database slows claiming, not memory up."""
# The database's now() is the moment at which the claim starts: one that is sent exactly then could come too early.
DUE_MARGIN_SECONDS = 0.002
EARLIER_SECONDS = 1.0
"""A notification of a task that was due this long ago names a place that the scan may have passed."""
LATE_SECONDS = 60.0
"""How long after a claim failed the server may still receive and execute its statement."""
STRAY_SECONDS = 0.5
"""How often to look for strays meanwhile, and for strays whose rows are locked."""


class Orders(NamedTuple):
    """What the heartbeat asks of the dispatcher."""

    draining: bool = False  # claim nothing
    paused: frozenset[str] = frozenset()  # claim none of these types
    suspect_due: bool = False  # a task that was running at two deaths is due; it is performed alone
    make_room: bool = False  # claim nothing until the jobs in hand have ended, so that the suspect can run
    limited: bool = False  # tasks under limits wait


class Lane:
    """What the threads perform, or what the event loop performs. Each lane has claims of its own, by its own room.

    A task type belongs to one lane. But rows of any class may have the type `common`, as fang's have: each lane claims
    those of its own classes, `kinds`.
    """

    def __init__(self, *, pool: Pool | EventLoop, task_types: Sequence[str], kinds: Sequence[str]) -> None:
        self.pool = pool
        self.task_types = frozenset(task_types)
        self.kinds = kinds
        self.scan = ClaimScan(task_types)
        self.limited_scan = LimitedScan()


class Dispatcher:
    """Claims in a thread of its own. Polling is the truth; notifications, the next due moment and freed threads only
    wake it.

    A stray is a task that this worker holds in the table but not in its hands: the answer to its claim was lost.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        worker_id: UUID,
        task_types: Sequence[str],
        kinds: Sequence[str],
        lanes: Sequence[Lane],
        in_flight: InFlight,
        registered: threading.Event,
        writing: threading.Event,
        on_schedules_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is claimed unless both are set: the heartbeat is `registered`, and outcomes are `writing`."""
        self._engine = engine
        self._worker_id = worker_id
        self._task_types = task_types
        self._kinds = kinds
        self._lanes = lanes
        self._in_flight = in_flight
        self._registered = registered
        self._writing = writing
        self._claims = ClaimConnection(engine, on_schedules_changed)
        self._orders = Orders()
        self._held: dict[str, float] = {}
        self._makes_room_since: float | None = None
        self._notified_at = float("-inf")
        self._due_at = float("inf")
        self._strays_at = 0.0
        self._strays_until = 0.0
        self.loop = Loop(name="dispatcher", tick=self.tick, wait=self._wait, interrupt=self._claims.interrupt)

    def due_in(self, seconds: float) -> None:
        """A task falls due in this many seconds: claim then. Any thread may call it."""
        moment = time.monotonic() + seconds + DUE_MARGIN_SECONDS
        if moment < self._due_at:
            self._due_at = moment
            self.loop.wake()

    def follow(self, orders: Orders) -> None:
        """Obey from now on. Any thread may call it.

        One worker at a time is to make room for a suspect. The others take it when they are idle: if all made room at
        once, everything else would wait.
        """
        before, self._orders = self._orders, orders
        self._makes_room_since = (self._makes_room_since or time.monotonic()) if orders.make_room else None
        if orders.limited:
            self._look_at_limited(time.monotonic())
        if orders.suspect_due or orders.limited or orders != before:
            self.loop.wake()

    def tick(self) -> float:
        """Claim once, if there is room. Returns the seconds until the next claim, unless woken."""
        if not (self._registered.is_set() and self._writing.is_set()):
            return POLL_SECONDS
        try:
            return self._claim_once()
        except BaseException:
            # Nobody knows what was claimed or released.
            self._claims.disconnect()
            self._strays_until = time.monotonic() + LATE_SECONDS
            raise

    def release_unstarted(self) -> None:
        """Release what no thread has begun. The loop has been stopped."""
        self._release([*self._take_back(), *self._in_flight.again()])

    def close(self) -> None:
        """Give the connection back. The loop has been stopped, and nothing wakes it any more."""
        self._claims.close()

    def _claim_once(self) -> float:
        started = time.monotonic()
        for one in self._in_flight.come_free():
            self._lane_of(one).pool.submit([one])
        self._release(self._take_back(waiting_for=STUCK_SECONDS))
        if started >= self._strays_at or not self._claims.connected:
            self._release_strays()
        rooms = [(lane, room) for lane in self._lanes if (room := self._room(lane)) > 0]
        if self._orders.draining or not rooms or self._in_flight.suspect:
            return POLL_SECONDS
        if self._makes_room() and (len(self._in_flight) or self._claim_suspect()):
            return POLL_SECONDS
        if self._due_at <= started and self._orders.limited:
            for key in due_keys(self._claims.get()):
                self._look_at_limited(started, key)
        limited = [self._claim_limited(lane) for lane, _ in rooms if lane.limited_scan.at <= started]
        more = [self._claim(lane, room) for lane in self._lanes if (room := self._room(lane)) > 0]
        more += limited
        self._hear()
        if any(more) or self._notified_at >= started:
            return 0.0
        if self._orders.suspect_due and not len(self._in_flight):
            self._claim_suspect()
        return self._until_next(started)

    def _room(self, lane: Lane) -> int:
        return min(lane.pool.room, MOST_IN_FLIGHT - len(self._in_flight))

    def _claim(self, lane: Lane, room: int) -> bool:
        """Claim once; whether there may be more at once."""
        claims, more = claim(
            self._claims.get(),
            worker_id=self._worker_id,
            scan=lane.scan,
            kinds=self._kinds,
            common_kinds=lane.kinds,
            limit=room,
            paused=self._paused,
        )
        self._take_in_hand(lane, claims)
        return more

    def _claim_limited(self, lane: Lane) -> bool:
        """Claim once what is under limits; whether there may be more at once.

        For half of the free threads at most, since other tasks must get their turn. A task that waits here for a thread
        would take a place of others.
        """
        limit = max(1, (lane.pool.size - lane.pool.busy + 1) // 2)
        keys, after = lane.limited_scan.begin(time.monotonic())
        found = self._limited(lane, limit, named=keys, after=after)
        lane.limited_scan.learn(keys, found, limit=limit, now=time.monotonic())
        self._take_in_hand(lane, found.claims)
        return bool(found.claims) and self._room(lane) > 0

    def _limited(
        self,
        lane: Lane,
        limit: int,
        *,
        named: Sequence[str] = (),
        after: str = "",
        sweep: int = SWEEP,
        isolated: bool = False,
    ) -> LimitedClaims:
        paused = self._paused
        return claim_limited(
            self._claims.get(),
            worker_id=self._worker_id,
            task_types=[name for name in lane.task_types if name not in paused],
            kinds=self._kinds,
            common_kinds=lane.kinds,
            limit=limit,
            named=named,
            after=after,
            sweep=sweep,
            isolated=isolated,
        )

    def _look_at_limited(self, now: float, key: str = "") -> None:
        for lane in self._lanes:
            lane.limited_scan.look(now, key)

    @property
    def _paused(self) -> frozenset[str]:
        """The types that are paused, and those that a job has held since the last heartbeat."""
        if not self._held:
            return self._orders.paused
        now = time.monotonic()
        self._held = {name: until for name, until in self._held.items() if until > now}
        return self._orders.paused | self._held.keys()

    def _claim_suspect(self) -> bool:
        paused = self._paused
        claims = claim_suspect(
            self._claims.get(),
            worker_id=self._worker_id,
            task_types=[name for name in self._task_types if name not in paused],
            kinds=self._kinds,
        )
        if self._orders.limited and not claims:
            keys = suspect_keys(self._claims.get())
            for lane in self._lanes:
                claims = claims or self._limited(lane, 1, named=keys, sweep=0, isolated=True).claims
        for one in claims:
            self._take_in_hand(self._lane_of(one), [one])
        if not claims:  # another worker has it, unless the next heartbeat says otherwise
            self._orders = self._orders._replace(suspect_due=False)
        return bool(claims)

    def _makes_room(self) -> bool:
        """Whether to claim nothing, so that a suspect can run. A job of hours must not hold everything else up."""
        if self._makes_room_since is None or not self._orders.suspect_due:
            return False
        return (time.monotonic() - self._makes_room_since) % (2 * MAKE_ROOM_SECONDS) < MAKE_ROOM_SECONDS

    def _take_in_hand(self, lane: Lane, claims: list[Claim]) -> None:
        lane.pool.submit(self._in_flight.add(claims))

    def _lane_of(self, claim: Claim) -> Lane:
        if claim.task_type != COMMON:
            return next(lane for lane in self._lanes if claim.task_type in lane.task_types)
        return next((lane for lane in self._lanes if claim.kind in lane.kinds), self._lanes[0])

    def _take_back(self, *, waiting_for: float = 0.0) -> list[Claim]:
        return [one for lane in self._lanes for one in lane.pool.take_back(waiting_for=waiting_for)]

    def _release(self, claims: Sequence[Claim]) -> None:
        """Return to the table what was prefetched and would wait here."""
        if not claims:
            return
        # Out of hand first: should the answer be lost, they are strays.
        self._in_flight.drop(one.token for one in claims)
        with self._engine.connect() as connection:
            released = release(connection, worker_id=self._worker_id, tokens=[one.token for one in claims])
        if len(released) < len(claims):  # the others are lost, or locked
            self._strays_at = time.monotonic() + STRAY_SECONDS

    def _release_strays(self) -> None:
        held = [one.key for one in self._in_flight.claims()]
        strays, locked = release_strays(self._claims.get(), worker_id=self._worker_id, held=held)
        now = time.monotonic()
        again = locked or now < self._strays_until
        self._strays_at = now + STRAY_SECONDS if again else float("inf")
        if strays:
            log.warning(
                "Released %d jobs whose claim was not answered", len(strays), extra={"action": "release"}
            )

    def _wait(self, seconds: float) -> None:
        try:
            self._claims.wait(seconds)
        except BaseException:
            self._claims.disconnect()
            raise
        self._hear()

    def _hear(self) -> None:
        due_in, keys, holds = self._claims.notifications()
        for key in keys:
            self._look_at_limited(time.monotonic(), key)
        self._held |= {name: time.monotonic() + seconds for name, seconds in holds.items()}
        for seconds in due_in:
            if seconds > 0:
                self._due_at = min(self._due_at, time.monotonic() + seconds + DUE_MARGIN_SECONDS)
                continue
            self._notified_at = time.monotonic()
            if seconds < -EARLIER_SECONDS:
                for lane in self._lanes:
                    lane.scan.look_back(-seconds)

    def _until_next(self, claimed_at: float) -> float:
        if self._due_at <= claimed_at:
            self._due_at = float("inf")
        now = time.monotonic()
        notified_for = now - self._notified_at
        recheck = max(notified_for, RECHECK_SECONDS) if notified_for < RECHECK_UNTIL_SECONDS else POLL_SECONDS
        limited_at = min(
            (lane.limited_scan.at for lane in self._lanes if self._room(lane) > 0), default=now + recheck
        )
        return min(recheck, max(min(self._due_at, limited_at) - now, 0.0))
