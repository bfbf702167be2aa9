"""Telling the dead from the silent: only silence that the observer watched counts."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from spoils.queue.worker_rows import HeartbeatResult, OtherWorker
from spoils.worker.liveness import Liveness

ONE, OTHER = UUID(int=1), UUID(int=2)


def one(beat: str, *, locked: bool | None = False, id_: UUID = ONE) -> OtherWorker:
    return OtherWorker(id_, beat, locked)


class Observer:
    """Looks once a second, as a worker does with its own heartbeat."""

    def __init__(self) -> None:
        self.watch = Liveness()
        self.now = 1000.0

    def looks(
        self, *others: OtherWorker, server: str = "server", after: float = 1.0
    ) -> Sequence[OtherWorker]:
        self.now += after
        return self.watch.observe(HeartbeatResult(alive=True, others=others, server=server), self.now)

    def sees_it_move(self, *, locked: bool | None = False) -> None:
        assert self.looks(one("b0", locked=locked)) == []
        assert self.looks(one("b1", locked=locked)) == []

    def condemns_after(self, other: OtherWorker, *, server: str = "server") -> int:
        """The number of looks, a second apart, at which the other is found dead."""
        return next(look for look in range(1, 100) if self.looks(other, server=server))


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.mark.parametrize(("locked", "seconds"), [(False, 3), (True, 30), (None, 30)])
def test_a_worker_whose_heartbeat_moved_and_then_stands_still_is_dead(
    observer: Observer, locked: bool | None, seconds: int
) -> None:
    observer.sees_it_move(locked=locked)
    assert observer.condemns_after(one("b1", locked=locked)) == seconds


@pytest.mark.parametrize("locked", [False, True, None])
def test_a_worker_whose_heartbeat_the_observer_never_saw_move_is_dead_after_30_seconds(
    observer: Observer, locked: bool | None
) -> None:
    observer.looks(one("b1", locked=locked))
    assert observer.condemns_after(one("b1", locked=locked)) == 30


@pytest.mark.parametrize("looks", [1, 2])
def test_a_worker_that_was_seen_to_hold_its_lock_and_then_loses_it_is_dead_after_3_seconds(
    observer: Observer, looks: int
) -> None:
    for _ in range(looks):
        observer.looks(one("b1", locked=True))
    assert observer.condemns_after(one("b1")) == 3


def test_a_fresh_observer_on_a_promoted_server_condemns_nobody_who_is_still_connecting(
    observer: Observer,
) -> None:
    # All locks are free there, the heartbeats are those of the former server, and it has been up for a long time.
    for _ in range(25):
        assert observer.looks(one("b1"), one("c1", id_=OTHER)) == []
    assert observer.looks(one("b2", locked=True), one("c2", id_=OTHER, locked=True)) == []


def test_what_was_seen_on_another_server_counts_no_more(observer: Observer) -> None:
    observer.sees_it_move()
    observer.looks(one("b1"), server="promoted")
    assert observer.condemns_after(one("b1"), server="promoted") == 30


def test_what_was_seen_before_the_observer_lost_its_connection_counts_no_more(observer: Observer) -> None:
    observer.sees_it_move()
    observer.watch.forget()
    assert observer.looks(one("b1"), after=60) == []
    assert observer.condemns_after(one("b1")) == 30


def test_a_heartbeat_begins_the_silence_anew(observer: Observer) -> None:
    observer.sees_it_move()
    observer.looks(one("b1"))
    observer.looks(one("b1"))
    observer.looks(one("b2"))
    assert observer.condemns_after(one("b2")) == 3


def test_a_stall_that_delays_every_heartbeat_is_no_silence(observer: Observer) -> None:
    observer.sees_it_move(locked=True)
    assert observer.looks(one("b1", locked=True), after=50) == []
    assert observer.looks(one("b1"), after=50) == []
    assert observer.looks(one("b1"), after=0.9) == []
    assert observer.looks(one("b1"), after=0.2) == [one("b1")]


@pytest.mark.parametrize(("locked", "seconds"), [(False, 3), (True, 30), (None, 30)])
def test_a_worker_that_comes_while_it_is_watched_and_dies_at_once_is_dead(
    observer: Observer, locked: bool | None, seconds: int
) -> None:
    observer.looks()
    observer.looks(one("b1", locked=locked))
    assert observer.condemns_after(one("b1", locked=locked)) == seconds


def test_a_worker_that_was_cut_off_and_takes_its_lock_anew_is_not_dead_in_between(observer: Observer) -> None:
    observer.sees_it_move(locked=True)
    for _ in range(15):
        assert observer.looks(one("b1", locked=True)) == []
    # It has had its former session ended, and tries again within a second.
    assert observer.looks(one("b1")) == []
    assert observer.looks(one("b1", locked=True)) == []
    assert observer.looks(one("b1")) == []
    assert observer.condemns_after(one("b1")) == 2


def test_each_neighbour_is_judged_for_itself(observer: Observer) -> None:
    observer.looks(one("b0"), one("c0", id_=OTHER))
    observer.looks(one("b1"), one("c1", id_=OTHER))
    observer.looks(one("b1"), one("c2", id_=OTHER))
    observer.looks(one("b1"), one("c3", id_=OTHER))
    assert observer.looks(one("b1"), one("c4", id_=OTHER)) == [one("b1")]
