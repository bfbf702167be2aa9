"""How many tasks the next claim may take."""

from spoils.worker.pace import CLAIM_SECONDS, LEAST_CLAIM, Pace

CHEAP, DEAR = CLAIM_SECONDS / 1000, CLAIM_SECONDS / 300
"""Seconds of a task, of which a claim may take a thousand or three hundred."""


def claimed(pace: Pace, times: int, each: float, number: int = 500) -> None:
    for _ in range(times):
        pace.learn(number * each, number)


def test_before_anything_is_known_a_claim_takes_what_there_is_room_for() -> None:
    assert Pace().most(5000) == 5000


def test_it_takes_as_many_as_in_its_time_and_never_more_than_there_is_room_for() -> None:
    pace = Pace()
    claimed(pace, 1, CHEAP)
    assert 999 <= pace.most(5000) <= 1000
    assert pace.most(7) == 7
    claimed(pace, 100, 10.0)
    assert pace.most(5000) == LEAST_CLAIM


def test_one_dear_claim_changes_little_and_many_are_believed() -> None:
    pace = Pace()
    claimed(pace, 10, CHEAP)
    claimed(pace, 1, DEAR)
    assert pace.most(5000) > 850
    claimed(pace, 50, DEAR)
    assert 300 <= pace.most(5000) < 330
    claimed(pace, 10, CHEAP)
    assert pace.most(5000) > 850


def test_the_way_to_the_server_is_not_held_against_its_tasks() -> None:
    pace = Pace()
    pace.learn(0.5, 1)
    pace.learn(0.5 + 500 * CHEAP, 500)
    assert 999 <= pace.most(5000) <= 1001
