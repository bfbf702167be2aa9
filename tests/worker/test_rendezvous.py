"""One worker at a time has its turn."""

from collections import Counter
from uuid import UUID, uuid4

from spoils.worker.rendezvous import TURN_SECONDS, rank

TURNS = [(number + 0.5) * TURN_SECONDS for number in range(200)]


def chosen(crew: list[UUID], now: float) -> UUID:
    ranks = {rank(me, [other for other in crew if other != me], now): me for me in crew}
    assert sorted(ranks) == list(range(len(crew)))
    return ranks[0]


def test_exactly_one_of_a_crew_has_each_turn_and_all_have_some() -> None:
    crew = [UUID(int=number) for number in range(4)]
    turns = Counter(chosen(crew, now) for now in TURNS)
    assert set(turns) == set(crew)


def test_a_turn_lasts_to_its_end() -> None:
    crew = [uuid4() for _ in range(4)]
    assert len({chosen(crew, TURN_SECONDS * 7 + part * TURN_SECONDS) for part in (0.0, 0.5, 0.999)}) == 1


def test_a_worker_that_comes_takes_a_turn_from_nobody_but_for_itself() -> None:
    crew, newcomer = [UUID(int=number) for number in range(4)], UUID(int=99)
    for now in TURNS:
        assert chosen([*crew, newcomer], now) in (chosen(crew, now), newcomer)


def test_a_worker_that_is_alone_always_has_the_turn() -> None:
    assert all(rank(uuid4(), [], now) == 0 for now in (0.0, 9.9, 10.0, 1e9))
