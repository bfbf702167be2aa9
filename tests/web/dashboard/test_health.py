"""The sentence of health says the worst, and is loud only where somebody is needed."""

from spoils.web.dashboard.shared.health import Health, Seen, judge


def seen(
    *,
    waiting: dict[str, int] | None = None,
    due_for: dict[str, float] | None = None,
    workers: int = 1,
    taken: str = "a b",
    paused: str = "",
) -> Seen:
    return Seen(
        waiting=waiting or {},
        due_for=due_for or {},
        live_workers=workers,
        taken=frozenset(taken.split()),
        paused=frozenset(paused.split()),
    )


def says(health: Health) -> str:
    return f"{health.strong} {health.rest}"


def test_nothing_waits() -> None:
    health = judge(seen())
    assert says(health) == "Work flows. No due job waits."
    assert not health.needs_you


def test_work_flows() -> None:
    health = judge(seen(waiting={"a": 3}, due_for={"a": 4.9}))
    assert says(health) == "Work flows. Every type has a live worker and no due job waits longer than 5 s."


def test_work_flows_more_slowly() -> None:
    health = judge(seen(waiting={"a": 3}, due_for={"a": 61}))
    assert says(health) == "Work flows. Every type has a live worker; the oldest due job waits 1 min 1 s."
    assert not health.needs_you


def test_work_is_behind() -> None:
    health = judge(seen(waiting={"a": 3, "b": 9}, due_for={"a": 301, "b": 7}))
    assert (
        says(health)
        == "Work is behind. Every type has a live worker, but the oldest due job, of type a, waits 5 min."
    )
    assert (health.needs_you, health.task_type) == (True, "a")


def test_a_type_that_nobody_takes_goes_before_everything_else() -> None:
    health = judge(seen(waiting={"a": 3, "mail": 412}, due_for={"a": 9_000, "mail": 780}))
    assert says(health) == (
        "412 jobs of type mail wait and no live worker takes that type. The oldest waits 13 min."
    )
    assert (health.needs_you, health.task_type) == (True, "mail")


def test_of_several_such_types_the_fullest_is_named() -> None:
    health = judge(seen(waiting={"x": 1, "y": 2, "z": 1}, due_for={"x": 1, "y": 1, "z": 1}))
    assert health.strong.startswith("2 jobs of type y wait")
    assert health.rest.endswith("So it is with 2 other types.")


def test_no_worker_and_nothing_to_do_is_calm() -> None:
    health = judge(seen(workers=0, taken=""))
    assert says(health) == "No worker is live. Nothing waits either. Work begins when one starts."
    assert not health.needs_you


def test_no_worker_and_nothing_due_yet_is_calm() -> None:
    health = judge(seen(workers=0, taken="", waiting={"a": 1}))
    assert says(health) == "No worker is live. 1 job waits, none can start yet."
    assert not health.needs_you


def test_no_worker_and_work_to_do_needs_you() -> None:
    health = judge(seen(workers=0, taken="", waiting={"a": 2}, due_for={"a": 7}))
    assert says(health) == "2 jobs wait and no worker is live. The oldest is due for 7 s."
    assert health.needs_you


def test_a_type_that_is_not_due_needs_nobody() -> None:
    assert not judge(seen(waiting={"mail": 3})).needs_you


def test_what_is_paused_waits_on_purpose_and_is_told_last() -> None:
    health = judge(seen(waiting={"a": 3, "mail": 40}, due_for={"mail": 9_000, "a": 1}, paused="mail"))
    assert says(health).startswith("Work flows.")
    assert says(health).endswith("mail is paused, and 40 jobs wait for that.")
    assert not health.needs_you
    assert says(judge(seen(paused="mail post"))).endswith("mail and 1 other type are paused.")


def test_what_is_not_paused_is_still_judged() -> None:
    health = judge(seen(waiting={"a": 3, "b": 40}, due_for={"a": 301, "b": 9_000}, paused="b"))
    assert (health.needs_you, health.task_type) == (True, "a")


def test_without_a_worker_what_is_paused_is_counted_too_since_its_list_has_it() -> None:
    health = judge(
        seen(workers=0, taken="", waiting={"a": 3, "b": 40}, due_for={"a": 7, "b": 9_000}, paused="b")
    )
    assert says(health) == (
        "43 jobs wait and no worker is live. The oldest is due for 7 s. b is paused, and 40 jobs wait for that."
    )
    only_paused = judge(seen(workers=0, taken="", waiting={"b": 40}, due_for={"b": 9_000}, paused="b"))
    assert says(only_paused).startswith("No worker is live. 40 jobs wait, none can start yet.")
    assert not only_paused.needs_you
