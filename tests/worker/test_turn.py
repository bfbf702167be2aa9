"""One worker at a time has its turn."""

from uuid import uuid4

from spoils.worker.turn import TURN_SECONDS, has_turn


def test_each_of_a_crew_has_one_turn_after_the_other() -> None:
    crew = [uuid4() for _ in range(4)]
    turns = []
    for number in range(8):
        now = (number + 0.5) * TURN_SECONDS
        (one,) = [me for me in crew if has_turn(me, [other for other in crew if other != me], now)]
        turns.append(one)
    assert set(turns[:4]) == set(crew)
    assert turns[4:] == turns[:4]


def test_who_is_alone_always_has_the_turn() -> None:
    assert all(has_turn(uuid4(), [], now) for now in (0.0, 9.9, 10.0, 1e9))
