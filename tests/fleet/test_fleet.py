"""Past one machine: whatever its network and its hosts do, each accepted job has exactly one outcome."""

import threading
import time
from collections.abc import Callable
from uuid import UUID

import pytest

from tests.faults import invariants
from tests.faults.faketime import faked
from tests.faults.workers import all_end, claimed_again, enqueue_all, held_by, in_flight, work
from tests.fleet.fleet import Fleet, Traffic
from tests.support import eventually

pytestmark = pytest.mark.process


def a_worker_host_is_cut_off(fleet: Fleet) -> None:
    fleet.workers[0].cut_off()


def a_web_host_is_cut_off(fleet: Fleet) -> None:
    fleet.webs[0].cut_off()


def what_a_worker_host_sends_is_lost(fleet: Fleet) -> None:
    fleet.workers[0].sends.loss = 1.0


def what_a_worker_host_receives_is_lost(fleet: Fleet) -> None:
    fleet.workers[0].receives.loss = 1.0


def packets_take_200_ms(fleet: Fleet) -> None:
    for host in fleet.clients:
        host.sends.delay = 0.2


def packets_are_lost_1_in_20(fleet: Fleet) -> None:
    for host in fleet.clients:
        host.sends.loss = host.receives.loss = 0.05


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (a_worker_host_is_cut_off, 20),
        (a_web_host_is_cut_off, 10),
        (what_a_worker_host_sends_is_lost, 20),
        (what_a_worker_host_receives_is_lost, 20),
        (packets_take_200_ms, 10),
        (packets_are_lost_1_in_20, 10),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_while_the_network_fails_jobs_are_accepted_and_performed_and_each_has_one_outcome(
    fleet: Fleet, fault: Callable[[Fleet], None], seconds: int, thorough: bool, report: Callable[[str], None]
) -> None:
    seconds = 60 if thorough else seconds
    with Traffic(fleet) as traffic:
        eventually(lambda: len(traffic.accepted) >= 10)
        began = fleet.rows.value("SELECT clock_timestamp()")
        fault(fleet)
        threading.Event().wait(seconds)
        performed = fleet.rows.value(
            "SELECT count(*) FROM fang_tasks WHERE state = 'finished' AND created_at > :began AND id = ANY(:ids)",
            began=began,
            ids=traffic.accepted,
        )
        assert performed >= 5
        for host in fleet.clients:
            host.mend()
        mended = time.monotonic()
        fleet.await_well()
        well = time.monotonic() - mended
    all_end(fleet.rows, traffic.accepted, timeout=60)
    report(
        f"well again {well:.1f} s after {seconds} s of it, all jobs ended after {time.monotonic() - mended:.1f} s"
        f" ({len(traffic.accepted)} jobs, {performed} of them performed meanwhile; {traffic.refused} requests failed)"
    )
    invariants.check(fleet.rows, traffic.accepted)


def test_the_jobs_of_a_host_that_dies_are_performed_by_others(
    fleet: Fleet, report: Callable[[str], None]
) -> None:
    dies = fleet.workers[0]
    with Traffic(fleet) as traffic:
        long = enqueue_all(fleet.rows.connection, work(12, seconds=5))
        pids = fleet.programs[dies].children

        def its_jobs() -> list[UUID]:
            return [job for pid in pids for job in held_by(fleet.rows, pid)]

        eventually(lambda: not set(its_jobs()).isdisjoint(long))
        fleet.kill(dies)
        since = fleet.rows.value("SELECT clock_timestamp()")
        lost = its_jobs()
        assert lost
        again = claimed_again(fleet.rows, lost, since)
        dies.mend()
        fleet.start_worker(dies)
        fleet.await_well()
    all_end(fleet.rows, [*traffic.accepted, *long], timeout=60)
    report(f"all of its jobs ({len(lost)}) ran again within {max(again.values()):.1f} s of its death")
    invariants.check(fleet.rows, [*traffic.accepted, *long])


def test_hosts_whose_clocks_are_hours_apart_work_by_the_database_s(fleet: Fleet, library: str) -> None:
    for host, offset in zip(fleet.workers, ("-18000", "+25200"), strict=False):
        fleet.restart_worker(host, FAKETIME=offset, **faked(library))
    fleet.await_well()
    # What the library makes of sleeping is no matter of ours.
    with Traffic(fleet, sleeps=False) as traffic:
        eventually(lambda: len(traffic.accepted) >= 100, 30)
    all_end(fleet.rows, traffic.accepted, timeout=60)
    invariants.check(fleet.rows, traffic.accepted)
    for host in fleet.workers[:2]:
        fleet.restart_worker(host)


def test_after_the_death_of_the_database_s_host_its_follower_has_all_that_was_accepted(
    fleet: Fleet, report: Callable[[str], None]
) -> None:
    follower = fleet.add_follower()
    with Traffic(fleet) as traffic:
        eventually(lambda: len(traffic.accepted) >= 30, 30)
        in_flight(fleet.rows, 3)
        died = time.monotonic()
        fleet.fail_over(follower)
        before = len(traffic.accepted)
        fleet.await_well()
        well = time.monotonic() - died
        eventually(lambda: len(traffic.accepted) > before + 10, 30)
    all_end(fleet.rows, traffic.accepted, timeout=60)
    report(f"well again {well:.1f} s after the death ({traffic.refused} requests failed)")
    invariants.check(fleet.rows, traffic.accepted)
