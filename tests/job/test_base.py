"""The contract of a job: what follows from a class, what stops one at its definition, and its form in the table."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from spoils.errors import JobDefinitionError, PayloadError
from spoils.job import Job, Queue, wire
from spoils.job.registry import registry


def define(
    name: str, *, bases: tuple[type, ...] = (Job,), fields: dict[str, Any] | None = None, **body: Any
) -> Any:
    """Define a job class as a file of spoils/jobs would; `fields` are annotations, `body` is what is assigned."""

    def run(self: Job, queue: Queue) -> None:
        return None

    return type(Job)(
        name, bases, {"__module__": __name__, "__annotations__": fields or {}, "run": run, **body}
    )


class Colour(StrEnum):
    RED = "red"


class PayloadJob(Job):
    """Has a field of every kind that JSON has."""

    number: int
    text: str = "Süß"
    share: float = 0.5
    flag: bool = True
    maybe: int | None = None
    many: list[int] = Field(default_factory=list)
    table: dict[str, int] = Field(default_factory=dict)
    moment: datetime = datetime(2024, 5, 1, 12, tzinfo=UTC)
    id: UUID = UUID(int=7)
    colour: Colour = Colour.RED

    def run(self, queue: Queue) -> None:
        return None


@pytest.mark.parametrize(
    ("name", "task_type", "endpoint"),
    [
        ("CatchProductJob", "catch_product", "catch-product"),
        ("Nightly", "nightly", "nightly"),
        ("HTTPPingJob", "http_ping", "http-ping"),
        ("Level2AuditJob", "level2_audit", "level2-audit"),
        ("JobJob", "job", "job"),
    ],
)
def test_task_type_and_endpoint_follow_from_the_class_s_name(
    name: str, task_type: str, endpoint: str
) -> None:
    job_class = define(name)
    assert (job_class.task_type, job_class.endpoint) == (task_type, endpoint)
    assert registry.get(name) is job_class
    assert registry.at_endpoint(endpoint) is job_class
    assert task_type in registry.task_types()


def test_a_class_may_choose_both_itself() -> None:
    chosen = define("ChosenJob", task_type="Some.Type_1", endpoint="else-where")
    assert (chosen.task_type, chosen.endpoint) == ("Some.Type_1", "else-where")
    assert define("OtherChosenJob", task_type="snake_case").endpoint == "snake-case"


def test_a_common_class_keeps_an_endpoint_of_its_own() -> None:
    one, other = define("OneCommonJob", task_type="common"), define("OtherCommonJob", task_type="common")
    assert (one.endpoint, other.endpoint) == ("one-common", "other-common")
    assert registry.task_types().count("common") == 1


def test_the_policies_that_stand_where_a_class_says_nothing() -> None:
    job = define("PlainJob")()
    policies = (job.uniq, job.max_retries, job.cron, job.cron_timezone, job.timeout, job.open)
    assert policies == (False, 20, None, None, None, False)
    assert job.enqueued_message == "Job enqueued successfully"
    assert [job.backoff(attempt) for attempt in range(3)] == [60, 120, 240]
    assert job.uniq_hash() is None


def test_policies_are_no_part_of_the_payload() -> None:
    policy = define("PolicyJob", fields={"number": int}, uniq=True, max_retries=3, timeout=5, open=True)
    assert list(policy.model_fields) == ["number"]
    assert policy(number=1).to_wire() == {"type": "PolicyJob", "number": 1}
    annotated = define("AnnotatedJob", fields={"uniq": ClassVar[bool]}, uniq=True)
    assert annotated().to_wire() == {"type": "AnnotatedJob"}


@pytest.mark.parametrize(("name", "kind", "value"), [("uniq", bool, True), ("max_retries", int, 3)])
@pytest.mark.filterwarnings("ignore:Field name:UserWarning")
def test_a_policy_that_is_annotated_like_a_field_is_refused(name: str, kind: type, value: object) -> None:
    with pytest.raises(
        JobDefinitionError, match=rf'^BrokenJob \(.*test_base.py\): a field cannot be called "{name}"'
    ):
        define("BrokenJob", fields={name: kind}, **{name: value})


def test_a_base_without_run_is_no_job_and_its_heirs_are() -> None:
    class ParentJob(Job):
        number: int = 0
        max_retries = 7

    assert registry.get("ParentJob") is None
    heir = define("HeirJob", bases=(ParentJob,), endpoint="heir")
    assert registry.get("HeirJob") is heir
    assert heir().max_retries == 7
    assert heir().to_wire() == {"type": "HeirJob", "number": 0}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"fields": {"type": str}}, 'a field cannot be called "type"'),
        ({"task_type": ""}, "task_type must be"),
        ({"task_type": "two words"}, "task_type must be"),
        ({"task_type": "a\n"}, "task_type must be"),
        ({"task_type": "x" * 101}, "task_type must be"),
        ({"task_type": "über"}, "task_type must be"),
        ({"task_type": 5}, "task_type must be"),
        ({"task_type": None}, "task_type must be"),
        ({"endpoint": ""}, "cannot be an endpoint"),
        ({"endpoint": "Upper"}, "cannot be an endpoint"),
        ({"endpoint": "a/b"}, "cannot be an endpoint"),
        ({"endpoint": "status"}, "cannot be an endpoint"),
        ({"endpoint": None}, "cannot be an endpoint"),
        ({"max_retries": -1}, "max_retries must be"),
        ({"max_retries": True}, "max_retries must be"),
        ({"max_retries": 2.0}, "max_retries must be"),
        ({"max_retries": "3"}, "max_retries must be"),
        ({"max_retries": 10_001}, "max_retries must be"),
        ({"timeout": 0}, "timeout must be"),
        ({"timeout": -1}, "timeout must be"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"timeout": 7 * 24 * 3600 + 1}, "timeout must be"),
        ({"timeout": "a minute"}, "timeout must be"),
        ({"timeout": True}, "timeout must be"),
        ({"uniq": "yes"}, "uniq must be"),
        ({"open": 1}, "open must be"),
        ({"cron": "every night"}, "is not a cron expression"),
        ({"cron": "61 * * * *"}, "is not a cron expression"),
        ({"cron": "0 0 30 2 *"}, "is not a cron expression"),
        ({"cron": 5}, "cron must be"),
        ({"cron": "* * * * *", "cron_timezone": "Mars/Olympus"}, "There is no time zone"),
        ({"cron": "* * * * *", "cron_timezone": 5}, "cron_timezone must be"),
        ({"cron": "* * * * *", "fields": {"number": int}}, "each of its fields needs a default"),
        ({"cron": "* * * * *", "fields": {"number": int}, "number": "x"}, "its defaults cannot be enqueued: number:"),
        ({"cron": "* * * * *", "fields": {"share": float}, "share": 1.5, "uniq": True}, "share may hold a float"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_fails_at_its_definition_and_is_named(
    body: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(JobDefinitionError, match=r"^BrokenJob \(.*test_base.py\): ") as caught:
        define("BrokenJob", **body)
    assert sentence in str(caught.value)
    assert registry.get("BrokenJob") is None


def test_two_classes_of_one_name_fail_and_both_modules_are_named() -> None:
    first = define("TwiceJob")
    with pytest.raises(
        JobDefinitionError, match=r"TwiceJob is defined twice: in .*test_base\.py and in other\.module\."
    ):
        define("TwiceJob", __module__="other.module", endpoint="elsewhere")
    assert registry.get("TwiceJob") is first
    assert registry.at_endpoint("elsewhere") is None


def test_two_classes_with_one_endpoint_fail_and_both_are_named() -> None:
    define("SameEndJob")
    with pytest.raises(
        JobDefinitionError,
        match=r"SameEnd \(.*\) and SameEndJob \(.*\) both have the endpoint /api/jobs/same-end",
    ):
        define("SameEnd")


def test_a_payload_comes_back_from_the_wire_as_it_went() -> None:
    job = PayloadJob(number=5, many=[1, 2], table={"b": 1}, text="a\u2028b🥕")
    text = wire.canonical(job.to_wire())
    assert PayloadJob.from_wire(text) == job
    assert json.loads(text)["type"] == "PayloadJob"
    assert json.loads(text)["maybe"] is None  # fang wants an optional field as null


@settings(max_examples=100, deadline=None)
@given(
    st.integers(-(2**63), 2**64),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dictionaries(st.text("ab", max_size=3), st.integers()),
)
def test_any_payload_comes_back_from_the_wire(
    number: int, text: str, share: float, table: dict[str, int]
) -> None:
    job = PayloadJob(number=number, text=text, share=share, table=table)
    assert PayloadJob.from_wire(wire.canonical(job.to_wire())) == job


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ('{"number": "5"}', "number"),
        ('{"number": true}', "number"),
        ('{"number": 5.5}', "number"),
        ('{"number": null}', "number"),
        ("{}", "number"),
        ('{"number": 1, "text": 5}', "text"),
        ('{"number": 1, "flag": 1}', "flag"),
        ('{"number": 1, "flag": "true"}', "flag"),
        ('{"number": 1, "many": [1, "2"]}', "many.1"),
        ('{"number": 1, "colour": "blue"}', "colour"),
        ("[]", "payload"),
        ("null", "payload"),
        ('"text"', "payload"),
        ("", "payload"),
        ("[" * 100_000, "payload"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence_that_names_the_field(metadata: str, field: str) -> None:
    with pytest.raises(PayloadError, match=rf"^The payload does not fit PayloadJob: {field}: .*\.$"):
        PayloadJob.from_wire(metadata)


def test_the_sentence_never_quotes_the_payload() -> None:
    with pytest.raises(PayloadError) as caught:
        PayloadJob.from_wire('{"number": "hunter2"}')
    assert "hunter2" not in str(caught.value)


def test_extra_fields_are_ignored() -> None:
    assert PayloadJob.from_wire('{"type": "PayloadJob", "number": 1, "added_later": []}') == PayloadJob(
        number=1
    )


def test_a_job_does_not_change_and_its_defaults_are_checked() -> None:
    with pytest.raises(ValidationError):
        PayloadJob(number=1).number = 2  # type: ignore[misc]
    wrong_default = define("WrongDefaultJob", fields={"number": int}, number="x")
    with pytest.raises(ValidationError):
        wrong_default()


def test_the_hash_of_a_unique_job_is_that_of_its_wire_form() -> None:
    unique = define("UniqueWireJob", fields={"a": int, "b": str}, uniq=True)
    job = unique(b="x", a=1)
    assert (
        job.uniq_hash()
        == unique(a=1, b="x").uniq_hash()
        == wire.uniq_hash({"type": "UniqueWireJob", "a": 1, "b": "x"})
    )
    assert job.uniq_hash() != unique(b="x", a=2).uniq_hash()
    other = define("OtherUniqueWireJob", fields={"a": int, "b": str}, uniq=True)
    assert other(a=1, b="x").uniq_hash() != job.uniq_hash()


def test_a_float_in_a_unique_payload_is_refused() -> None:
    unique = define("UniqueFloatJob", fields={"share": Any}, uniq=True)
    with pytest.raises(PayloadError, match="may not hold a float"):
        unique(share=0.5).uniq_hash()


def test_a_base_s_own_validator_speaks_in_the_sentence() -> None:
    class ValidatedJob(Job):
        id: UUID

        @field_validator("id")
        @classmethod
        def _known(cls, value: UUID) -> UUID:
            raise ValueError("There is no such thing")

        def run(self, queue: Queue) -> None:
            return None

    with pytest.raises(PayloadError, match=r"id: Value error, There is no such thing\.$"):
        ValidatedJob.from_wire(json.dumps({"id": str(uuid4())}))


def test_a_hidden_class_is_known_but_has_no_endpoint() -> None:
    class HiddenJob(Job):
        hidden = True

        def run(self, queue: Queue) -> None:
            return None

    assert registry.get("HiddenJob") is HiddenJob
    assert registry.at_endpoint("hidden") is None
    assert "hidden" not in registry.endpoints()
    assert "hidden" in registry.task_types()
