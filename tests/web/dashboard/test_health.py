"""The sentence of health names the worst problem, and is prominent only if somebody has to act."""

from typing import Any

import pytest

from spoils.reports.charts import Recent
from spoils.reports.forecast import Forecast
from spoils.web.dashboard.shared.health import Health, Observed, judge

GROWING = Forecast(12.0, None)


def judged(*, workers: int = 1, taken: str = "a b", paused: str = "", **figures: Any) -> Health:
    """Health by type: `waiting`, and `due_for` in seconds."""
    return judge(
        Observed(
            waiting=figures.get("waiting", {}),
            due_for=figures.get("due_for", {}),
            live_workers=workers,
            taken=frozenset(taken.split() if workers else ()),
            paused=frozenset(paused.split()),
            unknown=figures.get("unknown", {}),
            recent=figures.get("recent", {}),
            forecasts=figures.get("forecasts", {}),
            limited=frozenset(figures.get("limited", "").split()),
            missed=figures.get("missed", ()),
            running=figures.get("running", 0),
            capacity=figures.get("capacity", 5),
            own=frozenset({"ping"}),
        )
    )


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        ({}, "Healthy. No jobs are due."),
        ({"waiting": {"mail": 3}}, "Healthy. No jobs are due."),
        ({"waiting": {"a": 3}, "due_for": {"a": 4.9}}, "Healthy. No job has been due for more than 5 s."),
        ({"waiting": {"a": 3}, "due_for": {"a": 61}}, "Healthy. The oldest due job has waited 1 min 1 s."),
        (
            {"waiting": {"a": 3}, "due_for": {"a": 61}, "running": 5},
            "At full capacity. 5 jobs are running. The oldest due job has waited 1 min 1 s.",
        ),
        ({"due_for": {"a": 61}, "running": 4}, "Healthy. The oldest due job has waited 1 min 1 s."),
        ({"due_for": {"a": 29}, "running": 5}, "Healthy. The oldest due job has waited 29 s."),
        (
            {"waiting": {"a": 3}, "due_for": {"a": 9_000}, "limited": "a"},
            "Healthy. All due jobs are under limits.",
        ),
        ({"workers": 0}, "No workers running. No jobs are waiting either."),
        # Four failures, and 5 of 26, are no incident; nor is a backlog that has just come.
        ({"recent": {"a": Recent(4, 4), "b": Recent(26, 5)}}, "Healthy. No jobs are due."),
        (
            {"waiting": {"a": 900}, "due_for": {"a": 119}, "forecasts": {"a": GROWING}},
            "Healthy. The oldest due job has waited 1 min 59 s.",
        ),
        ({"workers": 0, "waiting": {"a": 1}}, "No workers running. 1 job waits, none of them due."),
        # The link leads to a list without the queue's own jobs.
        (
            {"workers": 0, "waiting": {"a": 1, "ping": 2}},
            "No workers running. 1 job waits, none of them due.",
        ),
        (
            {"waiting": {"a": 3, "mail": 40}, "due_for": {"mail": 9_000, "a": 1}, "paused": "mail"},
            "Healthy. No job has been due for more than 5 s. mail is paused with 40 jobs waiting.",
        ),
        ({"paused": "mail post"}, "Healthy. No jobs are due. mail and 1 other type are paused."),
        (
            {"workers": 0, "waiting": {"b": 40}, "due_for": {"b": 9_000}, "paused": "b"},
            "No workers running. 40 jobs wait, none of them due. b is paused with 40 jobs waiting.",
        ),
    ],
)
def test_health_that_needs_no_action(figures: dict[str, Any], sentence: str) -> None:
    health = judged(**figures)
    assert f"{health.strong} {health.rest}" == sentence
    assert not health.needs_you
    assert health.glyph == (
        "well" if "jobs wait" not in sentence and sentence.startswith("Healthy") else "waits"
    )


@pytest.mark.parametrize(
    ("figures", "sentence", "task_type"),
    [
        (
            {"missed": ("The schedule nightly missed its tick at 02:00.", "…", "…")},
            "The schedule nightly missed its tick at 02:00. 2 other schedules missed a tick too.",
            None,
        ),
        (
            {"waiting": {"a": 3, "b": 9}, "due_for": {"a": 301, "b": 7}, "missed": ("…",)},
            "Falling behind. The oldest due job of type a has waited 5 min.",
            "a",
        ),
        (
            {"waiting": {"a": 900, "b": 2}, "due_for": {"a": 121, "b": 200}, "forecasts": {"a": GROWING}},
            "Falling behind: growing 12/s, will not drain. The oldest due job of type a has waited 2 min.",
            "a",
        ),
        (
            {"waiting": {"a": 900}, "due_for": {"a": 400}, "forecasts": {"a": Forecast(-0.4, 2_100)}},
            "Falling behind: clears in about 35 min. The oldest due job of type a has waited 6 min.",
            "a",
        ),
        (
            {
                "recent": {"a": Recent(25, 5), "b": Recent(10, 3), "c": Recent(9, 9)},
                "waiting": {"a": 3},
                "due_for": {"a": 301},
            },
            "c: 100.0 % of attempts failed in the last 5 min. 9 attempts of 9. 1 other type is failing too.",
            "c",
        ),
        (
            {"waiting": {"a": 3}, "due_for": {"a": 301}, "unknown": {"a": "ChargeCard"}},
            "No running worker knows ChargeCard. Its oldest job has waited 5 min.",
            "a",
        ),
        (
            {"waiting": {"a": 3, "b": 9}, "due_for": {"a": 301, "b": 900}, "unknown": {"a": "ChargeCard"}},
            "Falling behind. The oldest due job of type b has waited 15 min.",
            "b",
        ),
        (
            {
                "waiting": {"a": 3, "b": 3},
                "due_for": {"a": 301, "b": 900},
                "limited": "a b",
                "unknown": {"a": "ChargeCard"},
            },
            "No running worker knows ChargeCard. Its oldest job has waited 5 min.",
            "a",
        ),
        (
            {"waiting": {"a": 3, "mail": 412}, "due_for": {"a": 9_000, "mail": 780}},
            "412 jobs of type mail wait and no running worker performs this type. The oldest has waited 13 min.",
            "mail",
        ),
        (
            {"waiting": {"x": 1, "y": 2, "z": 1}, "due_for": {"x": 1, "y": 1, "z": 1}},
            (
                "2 jobs of type y wait and no running worker performs this type. The oldest has waited 1 s. "
                "2 other types are affected too."
            ),
            "y",
        ),
        (
            {"workers": 0, "waiting": {"a": 2}, "due_for": {"a": 7}},
            "2 jobs wait and no workers are running. The oldest has been due for 7 s.",
            None,
        ),
        (
            {"waiting": {"a": 3, "b": 40}, "due_for": {"a": 301, "b": 9_000}, "paused": "b"},
            "Falling behind. The oldest due job of type a has waited 5 min. b is paused with 40 jobs waiting.",
            "a",
        ),
        # The link leads to all waiting jobs, so the paused ones are counted.
        (
            {"workers": 0, "waiting": {"a": 3, "b": 40}, "due_for": {"a": 7, "b": 9_000}, "paused": "b"},
            (
                "43 jobs wait and no workers are running. The oldest has been due for 7 s. "
                "b is paused with 40 jobs waiting."
            ),
            None,
        ),
    ],
)
def test_health_that_needs_action(figures: dict[str, Any], sentence: str, task_type: str | None) -> None:
    health = judged(**figures)
    assert f"{health.strong} {health.rest}" == sentence
    assert (health.needs_you, health.task_type) == (True, task_type)
