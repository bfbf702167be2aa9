"""What a class may say of its uniqueness, its expiry and its retention, and the sentences that refuse the rest."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import spoils
from spoils.errors import JobDefinitionError, PayloadError
from spoils.job import Job, Queue, Unique, wire
from tests.classes import throw_away_classes


@pytest.fixture(autouse=True)
def classes() -> Iterator[None]:
    with throw_away_classes():
        yield


def define(**policies: Any) -> type[Job]:
    class Body(Job):
        product_id: int = 7
        price: float = 0.5

    def run(self: Job, queue: Queue) -> None: ...

    return type("MadeJob", (Body,), {"__module__": __name__, "run": run, **policies})


def test_the_hash_is_that_of_the_class_and_the_named_fields() -> None:
    made = define(uniq=Unique("product_id"))
    assert made().uniq_hash() == wire.uniq_hash({"type": "MadeJob", "product_id": 7})


def test_without_fields_it_is_that_of_the_whole_payload_as_fang_s_is() -> None:
    class WholeJob(Job):
        product_id: int = 7
        uniq = Unique(within=60)

        def run(self, queue: Queue) -> None: ...

    assert WholeJob().uniq_hash() == wire.uniq_hash(WholeJob().to_wire())


def test_a_float_among_other_fields_is_none_in_the_hash() -> None:
    assert define(uniq=Unique("product_id"))().uniq_hash()


@pytest.mark.parametrize(
    ("policies", "sentence"),
    [
        ({"uniq": None}, 'uniq must be True, False or a Unique, as in uniq = Unique("product_id").'),
        ({"uniq": Unique("product")}, "uniq names 'product', which is not a field of the class."),
        ({"uniq": Unique(7)}, "uniq names 7, which is not a field of the class."),  # type: ignore[arg-type]
        ({"uniq": Unique("product_id", "product_id")}, "uniq names a field twice."),
        ({"uniq": Unique("price")}, "price may hold a float"),
        ({"uniq": Unique()}, "price may hold a float"),
        (
            {"uniq": Unique("product_id", while_="running")},  # type: ignore[arg-type]
            'while_ of uniq must be "waiting" or "active".',
        ),
        ({"uniq": Unique("product_id", within=0)}, "within of uniq must be None, or seconds or a timedelta"),
        ({"uniq": Unique("product_id", within=float("nan"))}, "within of uniq must be"),
        ({"uniq": Unique("product_id", within=True)}, "within of uniq must be"),
        ({"uniq": Unique("product_id", within="1h")}, "within of uniq must be"),  # type: ignore[arg-type]
        ({"uniq": Unique("product_id", within=timedelta(days=366))}, "within of uniq must be"),
        (
            {"uniq": Unique("product_id"), "uniq_hash": lambda _self: None},
            "uniq names fields, and uniq_hash is overridden: leave one of them out.",
        ),
        (
            {"expires": 60},
            "expires must be None or a timedelta of at most 3,650 days, as in timedelta(hours=6).",
        ),
        ({"expires": timedelta(0)}, "expires must be None or a timedelta"),
        ({"keep": timedelta(seconds=-1)}, "keep must be None or a timedelta of at most 36,500 days"),
        ({"keep_failed": "6h"}, "keep_failed must be None or a timedelta of at most 36,500 days"),
        ({"overlap": True, "uniq": Unique("product_id")}, "a unique job cannot overlap with itself."),
    ],
)
def test_a_mistake_is_refused_when_the_class_is_defined(policies: dict[str, Any], sentence: str) -> None:
    with pytest.raises(JobDefinitionError) as caught:
        define(**policies)
    assert str(caught.value).startswith("MadeJob (")
    assert sentence in str(caught.value)


def test_a_float_that_comes_in_spite_of_its_annotation_is_refused() -> None:
    class AnythingJob(Job):
        value: Any
        uniq = Unique("value")

        def run(self, queue: Queue) -> None: ...

    with pytest.raises(PayloadError, match="may not hold a float"):
        AnythingJob(value=0.5).uniq_hash()


def test_the_name_is_public() -> None:
    assert spoils.Unique is Unique
