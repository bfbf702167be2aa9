"""A form from the schema of a job class: its fields, and the payload that what was filled in makes. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spoils.job import Job
from spoils.web.masking import masked, masked_schema

Kind = Literal["text", "long", "number", "checkbox", "choice", "json"]
PREFIX = "field."
LONG_TEXT = 200
_TOO_LONG_NUMBER = 40
TELLING = 10**12
EMPTY = object()
_WITHHELD = "It is secret and was not copied. Enter it again."


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form; `value` is what stands in it, `wrong` a sentence on what is the matter with it."""

    name: str
    label: str
    kind: Kind
    required: bool
    hint: str
    value: str
    checked: bool
    choices: tuple[str, ...]
    step: str
    longest: int | None
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Filled:
    """What was filled in, as a payload, and what could not be read, by field."""

    payload: dict[str, Any]
    wrong: dict[str, str]


def fields(
    job_class: type[Job],
    *,
    payload: Mapping[str, Any] | None = None,
    given: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
) -> tuple[Field, ...]:
    """The fields of a class: filled from `given` (a form that was sent), else from `payload`, else by its defaults."""
    schema = masked_schema(job_class.model_json_schema())
    # Together, since one may name another as a secret.
    shown = masked(payload) if payload is not None else {}
    told = {name: given.get(PREFIX + name, "") for name in schema.get("properties", {})} if given else {}
    told_shown = masked(told)
    required = set(schema.get("required", ()))
    return tuple(
        _field(
            name,
            _resolved(part, schema),
            required=name in required,
            payload=payload,
            hidden=payload is not None and name in payload and shown[name] != payload[name],
            given=given,
            # A form that is shown again with its mistakes carries no secret back.
            withheld=wrong is not None and bool(told) and told_shown[name] != told[name],
            wrong=None if wrong is None else wrong.get(name, ""),
        )
        for name, part in schema.get("properties", {}).items()
    )


def read(job_class: type[Job], given: Mapping[str, str]) -> Filled:
    """The payload of a form that was sent; an empty field that is not required is left out."""
    payload: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for field in fields(job_class, given=given):
        if field.kind == "checkbox":
            payload[field.name] = field.checked
            continue
        text = field.value if field.kind in ("text", "long") else field.value.strip()
        if not text and (not field.required or field.kind in ("number", "json")):
            if field.required:
                wrong[field.name] = "This field is needed."
            continue
        try:
            payload[field.name] = _value(field.kind, text)
        except ValueError as exc:
            wrong[field.name] = str(exc)
    return Filled(payload, wrong)


def _value(kind: Kind, text: str) -> Any:
    if kind == "number":
        return _number(text)
    if kind == "json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as exc:
            told = f": {exc.msg} at line {exc.lineno}" if isinstance(exc, json.JSONDecodeError) else ""
            raise ValueError(f"This is not valid JSON{told}.") from exc
    # A browser sends line breaks as HTTP has them.
    return text.replace("\r\n", "\n")


def _number(text: str) -> int | float:
    if len(text) > _TOO_LONG_NUMBER:
        raise ValueError("This number is too long.")
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ValueError("A number is needed.") from None


def _field(
    name: str,
    part: Mapping[str, Any],
    *,
    required: bool,
    payload: Mapping[str, Any] | None,
    hidden: bool,
    given: Mapping[str, str] | None,
    withheld: bool,
    wrong: str | None,
) -> Field:
    kind = _kind(part)
    value = (
        payload[name]
        if payload is not None and name in payload and not hidden
        else part.get("default", EMPTY)
    )
    text = given.get(PREFIX + name, "") if given is not None else _text(kind, value)
    withheld = withheld and text != ""
    return Field(
        name=name,
        label=str(part.get("title") or name.replace("_", " ").capitalize()),
        kind=kind,
        required=required,
        hint=_WITHHELD if hidden or withheld else _hint(part, required),
        value="" if withheld else text,
        checked=(PREFIX + name) in given if given is not None else value is True,
        choices=tuple(str(each) for each in part.get("enum", ())),
        step="1" if part.get("type") == "integer" else "any",
        longest=part.get("maxLength"),
        wrong=wrong or "",
    )


def _resolved(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part without references, and of `X or null` the X."""
    options = [each for each in part.get("anyOf", ()) if each.get("type") != "null"]
    if len(options) == 1 and len(options) < len(part["anyOf"]):
        part = {**part, **options[0], "title": part.get("title")}
    if "$ref" in part:
        found = schema.get("$defs", {}).get(str(part["$ref"]).rpartition("/")[2], {})
        part = {**found, **part}
    return part


def _kind(part: Mapping[str, Any]) -> Kind:
    if part.get("enum") and all(isinstance(each, str) for each in part["enum"]):
        return "choice"
    match part.get("type"):
        case "string":
            return "long" if part.get("maxLength", 0) > LONG_TEXT else "text"
        case "integer" | "number":
            return "number"
        case "boolean":
            return "checkbox"
        case _:
            return "json"


def _text(kind: Kind, value: Any) -> str:
    if value is EMPTY or value is None:
        return ""
    if kind == "json" or not isinstance(value, str | int | float):
        return json.dumps(value, indent=2, ensure_ascii=False)
    return str(value)


def _hint(part: Mapping[str, Any], required: bool) -> str:
    found = []
    if description := part.get("description"):
        found.append(str(description).rstrip(".") + ".")
    low, high = part.get("minimum"), part.get("maximum")
    high = high if high is not None and high < TELLING else None  # the largest of 64 bits helps nobody
    if low is not None and high is not None:
        found.append(f"{low:,} to {high:,}.")
    elif low is not None:
        found.append(f"{low:,} or more.")
    elif high is not None:
        found.append(f"At most {high:,}.")
    if examples := part.get("examples"):
        found.append(f"Such as {examples[0]}.")
    if _kind(part) == "json":
        found.append("As JSON.")
    if not required and _kind(part) != "checkbox":
        found.append("May be left empty.")
    return " ".join(found)
