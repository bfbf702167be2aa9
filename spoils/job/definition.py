"""What a job class is refused for when it is defined, each with a sentence that names its file and the mend."""

import difflib
import inspect
import sys
from collections.abc import Collection, Iterator
from functools import cache
from types import FunctionType
from typing import Any

import typing_extensions
from pydantic import BaseModel, PlainSerializer, WrapSerializer
from pydantic.errors import PydanticUserError

from spoils.errors import JobDefinitionError

METHODS = {"run": "queue", "backoff": "attempt"}


def where(job_class: type) -> str:
    """The file that defines the class."""
    module = sys.modules.get(job_class.__module__)
    return getattr(module, "__file__", None) or job_class.__module__


def wrong(job_class: type, sentence: str) -> JobDefinitionError:
    """The error that says what is wrong with a class, and where it is."""
    return JobDefinitionError(f"{job_class.__name__} ({where(job_class)}): {sentence}")


def check_names(cls: type[BaseModel]) -> None:
    """Raise JobDefinitionError where the class's body assigns a name that means nothing here, as a misspelt policy."""
    known = cls.__class_vars__
    ignored = cls.model_config.get("ignored_types", ())
    assigned = [
        name
        for name, value in vars(cls).items()
        if not (name.startswith("_") or name == "model_config" or name in known)
        and not (hasattr(value, "__get__") or isinstance(value, (type, *ignored)))
        and type(value).__module__ != "functools"
    ]
    # The annotations' names alone: what they refer to may not be defined yet.
    annotated = typing_extensions.get_annotations(cls, format=typing_extensions.Format.FORWARDREF)
    for name in assigned:
        if name in annotated:
            continue
        if name in METHODS:
            raise _no_method(cls, name)
        policies = [one for one in known if not one.startswith("_")]
        meant = difflib.get_close_matches(name, policies, n=1)
        suggestion = f" Did you mean {meant[0]}?" if meant else ""
        raise wrong(
            cls,
            f"{name} is not a policy of a job.{suggestion} "
            f"A field needs an annotation ({name}: int = 1), and a constant a ClassVar.",
        )


def check_fields(cls: type[BaseModel], reserved: set[str]) -> None:
    """Raise JobDefinitionError where a field would hide what its name means on a job or in a row."""
    for name in (*cls.model_fields, *cls.model_computed_fields):
        if name in reserved:
            raise wrong(cls, f'a field cannot be called "{name}", which means something else here.')


@cache  # asked at each claim
def is_async(cls: type) -> bool:
    """Whether the event loop performs the class: its `run` is `async def`."""
    return inspect.iscoroutinefunction(getattr(cls, "run", None))


def check_methods(cls: type) -> None:
    """Raise JobDefinitionError where a call of `run` or `backoff` could not do what it is there for."""
    for name, argument in METHODS.items():
        # The outermost function decides: a decorator may await, or pass more than it is given.
        method = inspect.getattr_static(cls, name)
        if not isinstance(method, FunctionType):
            raise _no_method(cls, name)
        if name != "run" and inspect.iscoroutinefunction(method):
            raise wrong(
                cls,
                f"`async def {name}` is refused, since nothing would await it: write `def {name}(self, {argument})`.",
            )
        if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            raise wrong(
                cls,
                f"{name} yields, so that a call would execute none of it: "
                f"take the `yield` out, or put it into a method of its own that {name} loops over.",
            )
        try:
            inspect.signature(method, follow_wrapped=False).bind(None, None)
        except TypeError as exc:
            raise _no_method(cls, name) from exc


def check_payload(cls: type[BaseModel], *, hashed: Collection[str]) -> None:
    """Raise JobDefinitionError where a field would not come back from its row as it was enqueued.

    `hashed` names the fields whose values make the job unique.
    """
    if cls.model_config.get("extra") == "forbid":
        raise wrong(
            cls,
            'model_config cannot have extra="forbid", which refuses the "type" that each row has. '
            "Leave it out: the API refuses unknown fields anyway.",
        )
    for name, field in cls.model_fields.items():
        if field.exclude or field.exclude_if:
            raise wrong(
                cls,
                f"{name} is excluded from what is stored, so the job would run with its default: store it.",
            )
        if field.validation_alias or field.serialization_alias:
            raise wrong(
                cls, f"{name} has an alias, but a row holds fields by their names: rename the field instead."
            )
    try:
        schema = cls.model_json_schema(mode="serialization")
    except PydanticUserError as exc:
        raise wrong(cls, f"its fields have no JSON form: {exc.message.splitlines()[0]}") from exc
    own = _written_by_themselves(cls)
    for name, part in schema.get("properties", {}).items():
        if not own.isdisjoint((name, "*")):
            continue
        for kind in _schemas_in(part, schema.get("$defs", {}), set()):
            if kind.get("format") == "password":
                raise wrong(
                    cls,
                    f"{name} would be stored as asterisks, as a secret of pydantic's is written: take a str "
                    "(pages mask fields with names such as token and password).",
                )
            if name in hashed and kind.get("type") == "number":
                raise wrong(
                    cls,
                    f"{name} may hold a float, which Rust and Python write differently, so the hash that makes the "
                    "job unique would differ: take an int, a str or a Decimal.",
                )


def text_of(value: object) -> str:
    """`value` where it is a text, else one that no check lets pass."""
    return value if isinstance(value, str) else ""


def _no_method(cls: type, name: str) -> JobDefinitionError:
    return wrong(
        cls,
        f"{name} must be a plain method that can be called with the {METHODS[name]} alone: "
        f"def {name}(self, {METHODS[name]}).",
    )


def _written_by_themselves(cls: type[BaseModel]) -> set[str]:
    """The fields that have a serializer of their own, so that their annotation does not show what is stored."""
    decorated = cls.__pydantic_decorators__.field_serializers.values()
    return {name for decorator in decorated for name in decorator.info.fields} | {
        name
        for name, field in cls.model_fields.items()
        if any(isinstance(one, PlainSerializer | WrapSerializer) for one in field.metadata)
    }


def _schemas_in(part: Any, definitions: dict[str, Any], seen: set[str]) -> Iterator[dict[str, Any]]:
    """Each JSON schema within `part`, and once within what it refers to by name."""
    if isinstance(part, list):
        for item in part:
            yield from _schemas_in(item, definitions, seen)
    elif isinstance(part, dict):
        yield part
        for key, value in part.items():
            if key == "$ref":
                name = value.rpartition("/")[2]
                if name not in seen:
                    seen.add(name)
                    yield from _schemas_in(definitions[name], definitions, seen)
            elif key not in ("default", "examples", "enum", "const"):  # values, no schemas
                yield from _schemas_in(value, definitions, seen)
