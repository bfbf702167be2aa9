"""When to claim, and how much: as much as there are threads that will soon be free."""

import threading
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Engine

from spoils.queue.claim import Claim
from spoils.queue.cursors import Pair, Place
from spoils.worker.claimer import Claimer
from spoils.worker.in_flight import InFlight
from spoils.worker.listener import Listener
from spoils.worker.loop import Loop
from spoils.worker.pool import Pool

POLL_SECONDS = 1.0
IDLE_SECONDS = 10.0
"""The same while each beat looks for what is due, as `since` tells it to."""
STUCK_SECONDS = 0.25
"""What was taken ahead and has not been started for so long goes back: other workers may be free."""
EMPTY_SECONDS = 300.0
"""How long to claim nothing for a suspect's sake before claiming again for as long."""
MOST_IN_FLIGHT = 2000
"""Claims in hand, performed but not settled ones included: a slow database slows claiming down, not memory up."""
# The database's now() is that of the claim's start: a claim sent at the very moment could come a hair too early.
DUE_MARGIN_SECONDS = 0.002
EARLIER_SECONDS = 1.0
"""A notification of a task that was due so long ago tells of a place that the cursors may have passed."""
AGAIN_SECONDS = (0.005, 0.010, 0.020)
"""After a notification, a claim that found nothing is made again: of several inserts at once only one notifies."""


class Dispatcher:
    """Polling is the truth; notifications, the next due moment and freed threads only wake it. Where it listens and
    waits, the beat polls for it, at the places that `since` names.

    The thread that hears of a task claims it, in one round trip, and performs it where another is free to hear.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        worker_id: UUID,
        task_types: Sequence[str],
        kinds: Sequence[str],
        only_known: bool = False,
        pool: Pool,
        in_flight: InFlight,
        attending: threading.Event,
        writing: threading.Event,
    ) -> None:
        """Nothing is claimed unless both are set: presence is `attending`, and outcomes are `writing`."""
        self.since: Mapping[Pair, Place] | None = None
        self._pool = pool
        self._in_flight = in_flight
        self._attending = attending
        self._writing = writing
        self._draining = False
        self._paused: frozenset[str] = frozenset()
        self._suspect_due = False
        self._makes_room_since: float | None = None
        self._told = False
        self._named: str | None = None
        self._again: tuple[float, ...] = ()
        self._due_at: float | None = None
        self._at_rest = False
        self._waits_on = 0.0
        self._own: Claim | None = None  # what the thread that leads performs, once it has let go
        self._listener = Listener(on_notify=self._hear)
        self._claimer = Claimer(
            engine=engine,
            worker_id=worker_id,
            task_types=task_types,
            kinds=kinds,
            only_known=only_known,
            in_flight=in_flight,
            listener=self._listener,
            hand_over=self._hand_over,
        )
        self._cursors = self._claimer.cursors
        self.loop = Loop(
            name="dispatcher", tick=self.tick, wait=self._wait, interrupt=self._listener.interrupt
        )

    def due_in(self, seconds: float) -> None:
        """A task falls due in so many seconds: claim then. Zero or less means now. Any thread may call it."""
        known = self._due_at
        self._note(seconds)
        if seconds <= 0 or self._due_at != known:
            self.loop.wake()

    def suspect_due(self, due: bool, *, make_room: bool) -> None:
        """Whether a task that was running at two deaths is due: it is performed with nothing beside it.

        One worker at a time is to `make_room` for it: it claims nothing until its jobs have ended. The others take it
        when they are idle. If all made room at once, everything else would wait.
        """
        self._suspect_due = due
        self._makes_room_since = (self._makes_room_since or time.monotonic()) if make_room else None
        if due:
            self.loop.wake()

    def obey(self, *, draining: bool, paused: frozenset[str]) -> None:
        """Claim nothing while `draining`, and nothing of the types that are `paused`."""
        more = (self._draining and not draining) or not self._paused <= paused
        self._draining, self._paused = draining, paused
        if more:
            self.loop.wake()

    def lead(self) -> Claim | None:
        """Hear and claim in this thread, until there is a task for it to perform; None: until the loop is stopped."""
        self.loop.run()
        claim, self._own = self._own, None
        return claim

    def tick(self) -> float:
        """Claim once, if there is room. Returns the seconds until the next claim, unless woken."""
        named, self._named = self._named, None
        self._at_rest = False
        self.since = None
        if not self._is_ready:
            return POLL_SECONDS
        self._pool.submit(self._in_flight.come_free())
        self._claimer.give_back_strays()
        self._claimer.give_back(self._pool.take_back(waiting_for=STUCK_SECONDS))
        if self._draining:
            return POLL_SECONDS
        room = self._room
        if room <= 0 or self._in_flight.suspect:
            return POLL_SECONDS
        if self._suspect_due and self._runs_empty() and (len(self._in_flight) or self._claim_suspect()):
            return POLL_SECONDS
        claimed_at = time.monotonic()
        self._told = False
        if named and self._cursors.quiet and not self._suspect_due:
            self._look_again(self._claimer.claim_one(named, self._paused))
        elif self._claimer.claim(room, self._paused):
            return 0.0
        if self._told:
            return 0.0
        if self._suspect_due and not len(self._in_flight) and self._claim_suspect():
            return POLL_SECONDS
        return self._until_next(claimed_at) if self._rest() else 0.0

    def give_back_unstarted(self) -> None:
        """Return what no thread has begun. The loop has been stopped."""
        self._claimer.give_back([*self._pool.take_back(), *self._in_flight.again()])

    def close(self) -> None:
        """Give the connection back. The loop has been stopped, and nobody wakes it any more."""
        self._claimer.disconnect()
        self._listener.close()

    @property
    def _is_ready(self) -> bool:
        return self._attending.is_set() and self._writing.is_set()

    @property
    def _room(self) -> int:
        """How many claims are welcome."""
        return min(self._pool.room, MOST_IN_FLIGHT - len(self._in_flight))

    def _hand_over(self, claims: list[Claim]) -> None:
        if len(claims) == 1 and self._own is None and self._pool.keep():
            self._own = claims[0]
            self.loop.let_go()
        else:
            self._pool.submit(claims)

    def _claim_suspect(self) -> bool:
        self._suspect_due = self._claimer.claim_suspect(self._paused)  # until a beat tells otherwise
        return self._suspect_due

    def _runs_empty(self) -> bool:
        """Whether to claim nothing, so that a suspect can run. A job of hours must not hold everything else up."""
        if self._makes_room_since is None:
            return False
        return (time.monotonic() - self._makes_room_since) % (2 * EMPTY_SECONDS) < EMPTY_SECONDS

    def _wait(self, seconds: float) -> float:
        self._waits_on = 0.0
        try:
            self._listener.wait(seconds)
        except BaseException:
            self._claimer.disconnect()
            raise
        return self._waits_on

    def _hear(self, seconds: float, named: str | None = None) -> None:
        if named and self._at_rest and self._still_at_rest():
            self._claim_at_once(named)
            return
        if seconds <= 0:
            self._named = None if self._told else named  # of several none: the cursors find them all
            self._again = AGAIN_SECONDS
            self._told = True
        self._note(seconds)

    def _claim_at_once(self, named: str) -> None:
        """Claim it where it was heard of. The last look at everything left nothing, so nothing goes before it."""
        heard_at = time.monotonic()
        self._at_rest = self._told = False
        self._again = AGAIN_SECONDS
        self.loop.begin()
        self._look_again(self._claimer.claim_ready(named))
        self._cursors.look_wide()
        self._listener.pass_on()
        self._waits_on = 0.0 if self._told else self._until_next(heard_at)

    def _look_again(self, found: bool) -> None:
        if not found:
            # The worker that took it looks first for what was put in beside it, but may have no thread free.
            self._again = AGAIN_SECONDS[1:]

    def _rest(self) -> bool:
        """Make ready for the one task that it may be told of; whether nothing was told meanwhile."""
        if self._listener.attached and self._cursors.quiet and not self._suspect_due and self._room > 0:
            self._claimer.make_ready(self._paused)
            self._listener.pass_on()  # with the answer to that, too
            self._at_rest = not self._told
        return not self._told

    def _still_at_rest(self) -> bool:
        # There was room, and what has ended since has made more.
        return (
            not self._listener.woken
            and self._is_ready
            and not self._draining
            and not self._suspect_due
            and self._claimer.is_ready(self._paused)
        )

    def _note(self, seconds: float) -> None:
        if seconds < -EARLIER_SECONDS:
            self._cursors.look_back(-seconds)
        if seconds <= 0:
            self._cursors.look_wide()
        elif seconds < POLL_SECONDS * 3:
            moment = time.monotonic() + seconds + DUE_MARGIN_SECONDS
            self._due_at = min(self._due_at or moment, moment)

    def _until_next(self, claimed_at: float) -> float:
        if self._due_at is not None and self._due_at <= claimed_at:
            self._due_at = None
        delay = POLL_SECONDS
        if self._again:
            delay, self._again = self._again[0], self._again[1:]
        elif self._listener.attached and self._cursors.quiet and not len(self._in_flight):
            self.since = self._cursors.places(claimed_at)
            delay = POLL_SECONDS if self._cursors.sweeping else IDLE_SECONDS
        if self._due_at is None:
            return delay
        return min(delay, max(self._due_at - time.monotonic(), 0.0))
