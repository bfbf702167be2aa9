"""What a worker holds: of each task one claim is performed at a time."""

from spoils.queue.claim import Claim
from spoils.worker.in_flight import InFlight


def claim(key: str, claimed_at: str = "1", crashes: int = 0) -> Claim:
    return Claim(key, "sample", "SampleJob", "{}", 0, 1, crashes, 0, "0", claimed_at)


def test_a_task_that_is_claimed_again_while_it_is_performed_waits_for_the_first_claim() -> None:
    in_flight = InFlight()
    first, other = claim("a"), claim("b")
    assert in_flight.add([first, other]) == [first, other]
    again, third = claim("a", "2"), claim("c")
    assert in_flight.add([again, third]) == [third]
    assert in_flight.claims() == [first, other, third, again]
    assert len(in_flight) == 4
    assert in_flight.come_free() == []
    in_flight.drop([first.token])
    assert in_flight.come_free() == [again]
    assert in_flight.come_free() == []
    in_flight.drop([other.token, again.token, third.token])
    assert len(in_flight) == 0


def test_of_two_later_claims_the_last_one_waits() -> None:
    in_flight = InFlight()
    first, second, third = (claim("a", str(number)) for number in range(3))
    for one in (first, second, third):
        in_flight.add([one])
    in_flight.drop([first.token])
    assert in_flight.come_free() == [third]


def test_what_a_late_thread_drops_is_its_own_claim_and_no_later_one_of_the_task() -> None:
    in_flight = InFlight()
    late, now = claim("a"), claim("a", "2")
    in_flight.add([now])
    in_flight.drop([late.token])
    assert in_flight.claims() == [now]


def test_a_suspect_is_known_as_long_as_it_is_in_hand() -> None:
    in_flight = InFlight()
    suspect = claim("a", crashes=2)
    in_flight.add([suspect])
    assert in_flight.suspect
    in_flight.drop([suspect.token])
    in_flight.add([claim("b")])
    assert not in_flight.suspect


def test_a_claim_that_waits_for_an_earlier_one_can_be_given_back() -> None:
    in_flight = InFlight()
    first, again = claim("a"), claim("a", "2")
    in_flight.add([first])
    in_flight.add([again])
    assert in_flight.again() == [again]
    in_flight.drop([again.token])
    assert in_flight.again() == []
    assert in_flight.claims() == [first]
