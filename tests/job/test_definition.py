"""What is refused when a class of jobs is defined: each mistake that would otherwise show as a job that never ran."""

import abc
import functools
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    SecretBytes,
    SecretStr,
    computed_field,
    field_serializer,
    field_validator,
)

from spoils.errors import JobDefinitionError
from spoils.job import Concurrency, Job, Queue, Rate, wire
from spoils.job.registry import registry
from tests.job.test_base import define


async def asynchronous(self: Job, queue: Queue) -> None: ...


def yielding(self: Job, queue: Queue) -> Any:
    yield


async def yielding_asynchronously(self: Job, queue: Queue) -> Any:
    yield


class Callable5:
    def __call__(self, *given: object) -> None: ...


def whole(self: Job, queue: Queue) -> None: ...


def passing_more(run: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(run)
    def with_more(self: Job, queue: Queue) -> None:
        run(self, queue, "more")

    return with_more


def passing_on(run: Callable[..., None]) -> Callable[..., None]:
    return functools.wraps(run)(lambda *given, **named: run(*given, **named))


PLAIN = "run must be a plain method that can be called with the queue alone: def run(self, queue)."


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (yielding, "run yields, so that a call would execute none of it: take the `yield` out"),
        (yielding_asynchronously, "run yields"),
        (lambda self: None, PLAIN),
        (lambda: None, PLAIN),
        (lambda self, queue, more: None, PLAIN),
        (lambda self, *, queue: None, PLAIN),
        (staticmethod(lambda queue: None), PLAIN),
        (classmethod(lambda cls, queue: None), PLAIN),
        (property(lambda self: None), PLAIN),
        (functools.partial(whole), PLAIN),
        (functools.partialmethod(whole), PLAIN),
        (functools.lru_cache(whole), PLAIN),
        (Callable5(), PLAIN),
        (5, PLAIN),
        (None, PLAIN),
    ],
)
def test_a_run_that_would_not_run_is_refused(run: object, sentence: str) -> None:
    with pytest.raises(JobDefinitionError, match=r"^BrokenJob \(.*test_base\.py\): ") as refused:
        define("BrokenJob", run=run)
    assert sentence in str(refused.value)
    assert registry.get("BrokenJob") is None


def test_all_classes_of_a_task_type_are_async_or_none_is() -> None:
    define("FirstJob", run=asynchronous, task_type="mail")
    define("SecondJob", run=asynchronous, task_type="mail", endpoint="second")
    with pytest.raises(JobDefinitionError) as refused:
        define("ThirdJob", run=whole, task_type="mail")
    assert 'the task type "mail", as FirstJob' in str(refused.value)
    assert registry.get("ThirdJob") is None


@pytest.mark.parametrize(
    "run",
    [
        whole,
        lambda self, queue, more=1: None,
        lambda self, *queue: None,
        lambda *given, **named: None,
        passing_more(lambda self, queue, more: None),
        passing_on(whole),
    ],
)
def test_a_run_that_takes_the_queue_is_a_job_decorated_or_not(run: object) -> None:
    job_class = define("WholeJob", run=run)
    assert registry.get("WholeJob") is job_class
    assert job_class().run(None) is None


@pytest.mark.parametrize(
    ("backoff", "sentence"),
    [
        (5, "def backoff(self, attempt)"),
        (lambda self: 5, "def backoff(self, attempt)"),
        (asynchronous, "`async def backoff` is refused"),
    ],
)
def test_a_backoff_that_cannot_answer_is_refused(backoff: object, sentence: str) -> None:
    with pytest.raises(JobDefinitionError) as refused:
        define("BrokenJob", backoff=backoff)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "suggestion"),
    [
        ("max_retires", 3, "Did you mean max_retries?"),
        ("retries", 3, "Did you mean max_retries?"),
        ("unique", True, "Did you mean uniq?"),
        ("time_out", 5, "Did you mean timeout?"),
        ("task_typ", "x", "Did you mean task_type?"),
        ("chron", "* * * * *", "Did you mean cron?"),
        ("colour", "blue", "A field needs an annotation (colour: int = 1), and a constant a ClassVar."),
        ("number", Field(5), "A field needs an annotation"),
    ],
)
def test_a_misspelt_policy_is_refused_and_the_right_one_suggested(
    name: str, value: object, suggestion: str
) -> None:
    with pytest.raises(JobDefinitionError) as refused:
        define("BrokenJob", fields={"given": int}, **{name: value})
    assert f"): {name} is not a policy of a job. " in str(refused.value)
    assert suggestion in str(refused.value)


def test_what_a_class_may_hold_beside_fields_and_policies() -> None:
    class Helper:
        pass

    class RegionalJob(Job):
        number: int = 1
        region: ClassVar[str] = "eu"
        _private: int = PrivateAttr(1)
        _unannotated = 5

        class Inner:
            pass

        @functools.cached_property
        def cached(self) -> int:
            return 1

        @computed_field
        def doubled(self) -> int:
            return 2 * self.number

        @field_validator("number")
        @classmethod
        def _small(cls, number: int) -> int:
            return number

        @staticmethod
        def helper() -> type:
            return Helper

        run = whole

    class AmericanJob(RegionalJob):
        region = "us"
        endpoint = "american"

    assert registry.get("AmericanJob") is AmericanJob
    assert AmericanJob.from_wire(wire.canonical(AmericanJob(number=2).to_wire())) == AmericanJob(number=2)


def test_an_abstract_run_makes_a_base_and_no_job() -> None:
    class AbstractJob(Job):
        max_retries = 7

        @abc.abstractmethod
        def run(self, queue: Queue) -> None: ...

    assert registry.get("AbstractJob") is None
    assert define("ConcreteJob", bases=(AbstractJob,)).max_retries == 7


def test_a_run_may_come_from_a_mixin() -> None:
    class Running:
        def run(self, queue: Queue) -> None: ...

    class MixedJob(Running, Job):
        pass

    assert registry.get("MixedJob") is MixedJob


class Share(BaseModel):
    of: "list[Share]" = []
    part: float = 0.5


class Level(Enum):
    HALF = 0.5


@pytest.mark.parametrize(
    "kind",
    [
        float,
        float | None,
        list[float],
        dict[str, tuple[int, float]],
        Annotated[float, Field(ge=0)],
        Share,
        list[Share],
        Level,
    ],
)
def test_a_unique_job_whose_annotation_shows_a_float_is_refused(kind: Any) -> None:
    with pytest.raises(JobDefinitionError, match=r"share may hold a float.*take an int, a str or a Decimal"):
        define("BrokenJob", fields={"share": kind}, uniq=True)
    define("OtherwiseJob", fields={"share": kind})


def test_a_float_that_is_written_as_a_text_or_not_hashed_is_none_in_a_unique_job() -> None:
    text = Annotated[float, PlainSerializer(str, return_type=str)]
    define("TextJob", fields={"share": text}, uniq=True)
    define("HashedJob", fields={"share": float}, uniq=True, uniq_hash=lambda self: None)


@pytest.mark.parametrize(
    ("fields", "body", "sentence"),
    [
        ({"token": SecretStr}, {}, "token would be stored as asterisks"),
        ({"token": list[SecretBytes] | None}, {}, "token would be stored as asterisks"),
        ({"token": str}, {"token": Field("x", exclude=True)}, "token is excluded from what is stored"),
        ({"token": str}, {"token": Field("x", exclude_if=bool)}, "token is excluded from what is stored"),
        ({"code": str}, {"code": Field(alias="barcode")}, "code has an alias"),
        ({"code": str}, {"code": Field(validation_alias=AliasChoices("a", "b"))}, "code has an alias"),
        ({"code": str}, {"code": Field(serialization_alias="barcode")}, "code has an alias"),
        ({"code": str}, {"model_config": ConfigDict(alias_generator=str.upper)}, "code has an alias"),
        ({"code": str}, {"model_config": ConfigDict(extra="forbid")}, 'cannot have extra="forbid"'),
        ({"action": Callable}, {}, "its fields have no JSON form"),
        ({"uniq_hash": str}, {}, 'a field cannot be called "uniq_hash"'),
        ({"to_wire": str}, {}, 'a field cannot be called "to_wire"'),
        ({}, {"type": computed_field(property(whole), return_type=str)}, 'a field cannot be called "type"'),
    ],
)
@pytest.mark.filterwarnings("ignore:Field name:UserWarning", "ignore:Default value:UserWarning")
def test_a_field_that_would_not_come_back_from_its_row_is_refused(
    fields: dict[str, Any], body: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(JobDefinitionError, match=r"^BrokenJob \(") as refused:
        define("BrokenJob", fields=fields, **body)
    assert sentence in str(refused.value)
    assert registry.get("BrokenJob") is None


def test_a_secret_that_a_serializer_stores_as_it_is_is_a_field() -> None:
    class StoredSecretJob(Job):
        token: SecretStr
        other: Annotated[SecretStr, PlainSerializer(SecretStr.get_secret_value, when_used="json")]

        @field_serializer("token", when_used="json")
        def _stored(self, token: SecretStr) -> str:
            return token.get_secret_value()

        run = whole

    job = StoredSecretJob(token="hunter2", other="hunter3")
    assert StoredSecretJob.from_wire(wire.canonical(job.to_wire())) == job


def test_a_hash_of_its_own_needs_a_unique_class() -> None:
    with pytest.raises(JobDefinitionError, match="uniq_hash is asked of unique jobs only: set uniq = True"):
        define("BrokenJob", uniq_hash=lambda self: None)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (Concurrency(2), "limits must be a tuple of limits"),
        ((2,), "limits must be a tuple of limits"),
        ((Concurrency(0),), "a Concurrency needs a whole number from 1 to 1,000,000, not 0"),
        ((Rate(True, per=1),), "a Rate needs a whole number from 1 to 1,000,000, not True"),
        ((Rate(2.5, per=1),), "a Rate needs a whole number"),  # type: ignore[arg-type]
        ((Rate(2, per=0),), "per is the seconds of a Rate, up to seven days, not 0"),
        ((Rate(2, per=1e9),), "per is the seconds of a Rate"),
        ((Concurrency(2, by="user_di"),), "'user_di' is none. Did you mean user_id?"),
        ((Concurrency(2, by=("user_id", "shop")),), "'shop' is none."),
        ((Concurrency(2, name="g p=u"),), "the name of a limit must be 1 to 100 letters"),
        ((Rate(2, per=1), Rate(3, per=1)), "two of its limits are one, BrokenJob per 1 s"),
    ],
    ids=str,
)
def test_a_limit_that_means_nothing_is_refused(limits: object, sentence: str) -> None:
    with pytest.raises(JobDefinitionError, match=r"^BrokenJob ") as refused:
        define("BrokenJob", fields={"user_id": int}, limits=limits)
    assert sentence in str(refused.value)
    assert registry.get("BrokenJob") is None


def test_classes_that_share_a_limit_agree_on_its_number() -> None:
    define("FirstJob", limits=(Concurrency(4, name="gpu"), Rate(1, per=60, name="gpu")))
    define("SecondJob", limits=[Concurrency(4, name="gpu")])
    with pytest.raises(JobDefinitionError) as refused:
        define("ThirdJob", limits=(Concurrency(5, name="gpu"),))
    assert "it shares the limit gpu with FirstJob" in str(refused.value)
    assert registry.get("ThirdJob") is None
