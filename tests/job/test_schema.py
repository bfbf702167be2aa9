"""The digest of a class's fields differs where a row of one release may not fit the other; extra fields are named."""

from collections.abc import Callable

import pytest
from pydantic import ConfigDict, Field

from spoils.job import Job, Queue
from spoils.job.registry import registry
from spoils.job.schema import ignored_fields, schema_digest
from tests.classes import throw_away_classes
from tests.sample_jobs import SampleJob

Definition = Callable[[], type[Job]]


def one() -> type[Job]:
    class ChargeCard(Job):
        order_id: int

        def run(self, queue: Queue) -> None: ...

    return ChargeCard


def the_same_otherwise() -> type[Job]:
    class ChargeCard(Job):
        """Charges a card."""

        order_id: int
        max_retries = 7
        task_type = "payments"

        def run(self, queue: Queue) -> None:
            queue.log.info("charging")

    return ChargeCard


def another_type() -> type[Job]:
    class ChargeCard(Job):
        order_id: str

        def run(self, queue: Queue) -> None: ...

    return ChargeCard


def another_limit() -> type[Job]:
    class ChargeCard(Job):
        order_id: int = Field(ge=1)

        def run(self, queue: Queue) -> None: ...

    return ChargeCard


def a_default() -> type[Job]:
    class ChargeCard(Job):
        order_id: int = 0

        def run(self, queue: Queue) -> None: ...

    return ChargeCard


def another_field() -> type[Job]:
    class ChargeCard(Job):
        order_id: int
        currency: str = "EUR"

        def run(self, queue: Queue) -> None: ...

    return ChargeCard


def digest(definition: Definition) -> str:
    with throw_away_classes():
        return schema_digest(definition())


def test_the_same_fields_have_the_same_digest() -> None:
    assert digest(one) == digest(one) == digest(the_same_otherwise)


@pytest.mark.parametrize("definition", [another_type, another_limit, a_default, another_field])
def test_other_fields_have_another_digest(definition: Definition) -> None:
    assert digest(definition) != digest(one)


def test_every_class_that_could_be_defined_has_one() -> None:
    assert all(len(schema_digest(job_class)) == 16 for job_class in registry)


def test_the_fields_of_a_row_that_its_class_does_not_have_are_named() -> None:
    assert ignored_fields(SampleJob, '{"type": "SampleJob", "number": 1}') == []
    digits = "9" * 5000
    assert ignored_fields(SampleJob, f'{{"b": {digits}, "number": 1, "a": 1e400, "type": "SampleJob"}}') == [
        "a",
        "b",
    ]

    with throw_away_classes():

        class OpenFieldsJob(Job):
            model_config = ConfigDict(extra="allow")

            def run(self, queue: Queue) -> None: ...

    assert ignored_fields(OpenFieldsJob, '{"type": "OpenFieldsJob", "a": 1}') == []
