"""A form made from the schema of a job class: its fields, and the payload of a form that was sent. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spoils.job import Job
from spoils.masking import masked
from spoils.web.masked_schema import masked_schema

Kind = Literal["text", "long", "number", "checkbox", "choice", "json"]
PREFIX = "field."
LONG_TEXT = 200
LONGEST_NUMBER = 40
USEFUL_MAXIMUM = 10**12
"""Larger maximums, such as that of 64 bits, are not shown."""
_WITHHELD = "This is a secret and was not copied. Enter it again."


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form; `value` is its text, `wrong` an error message."""

    name: str
    label: str
    kind: Kind
    required: bool
    hint: str
    value: str
    checked: bool
    choices: tuple[str, ...]
    whole: bool
    """Whether its number is an integer."""
    wrong: str = ""


def form_fields(
    job_class: type[Job],
    *,
    payload: Mapping[str, Any] | None = None,
    given: Mapping[str, str] | None = None,
    wrong: Mapping[str, str] | None = None,
    withheld: str = _WITHHELD,
) -> tuple[Field, ...]:
    """The fields of a class, filled from a form that was sent (`given`), else from `payload`, else by the defaults.

    `withheld` is the hint beside a secret, which is never sent back.
    """
    schema = masked_schema(job_class.model_json_schema())
    parts = {name: _resolved(part, schema) for name, part in schema.get("properties", {}).items()}
    values: dict[str, Any] = {}
    if given is not None:
        texts = {name: given.get(PREFIX + name, "") for name in parts}
        # A form that is shown again with its errors sends no secret back.
        secret = secret_names(texts) if wrong is not None else set[str]()
    else:
        values = {name: part["default"] for name, part in parts.items() if "default" in part}
        secret = secret_names(payload or {})
        values |= {name: value for name, value in (payload or {}).items() if name not in secret}
        texts = {name: _text(_kind(part), values.get(name)) for name, part in parts.items()}
    required = set(schema.get("required", ()))
    return tuple(
        Field(
            name=name,
            label=str(part.get("title") or name.replace("_", " ").capitalize()),
            kind=_kind(part),
            required=name in required,
            hint=withheld if name in secret else _hint(part, name in required),
            value="" if given is not None and name in secret else texts[name],
            checked=(PREFIX + name) in given if given is not None else values.get(name) is True,
            choices=tuple(str(each) for each in part.get("enum", ())),
            whole=part.get("type") == "integer",
            wrong=(wrong or {}).get(name, ""),
        )
        for name, part in parts.items()
    )


def read_form(job_class: type[Job], given: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The payload of a form that was sent, without empty optional fields; and error messages by field."""
    payload: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for field in form_fields(job_class, given=given):
        if field.kind == "checkbox":
            payload[field.name] = field.checked
            continue
        text = field.value if field.kind in ("text", "long") else field.value.strip()
        if not text and (not field.required or field.kind in ("number", "json")):
            if field.required:
                wrong[field.name] = "This field is required."
            continue
        try:
            payload[field.name] = _value(field.kind, text)
        except ValueError as exc:
            wrong[field.name] = str(exc)
    return payload, wrong


def read_value(job_class: type[Job], name: str, text: str) -> Any:
    """The value of one field as a text gives it; no text is null where the field is no text. Raises ValueError."""
    field = next(each for each in form_fields(job_class) if each.name == name)
    if field.kind in ("text", "long", "choice"):
        return _value(field.kind, text)
    return _value("json" if field.kind == "checkbox" else field.kind, text.strip()) if text.strip() else None


def secret_names(values: Mapping[str, Any]) -> set[str]:
    """The fields that are secret, by their own name or because another field names them; empty ones are not."""
    shown = masked(values)
    return {name for name, value in values.items() if value != "" and shown[name] != value}


def _value(kind: Kind, text: str) -> Any:
    if kind == "number":
        return _number(text)
    if kind == "json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as exc:
            place = f": {exc.msg} at line {exc.lineno}" if isinstance(exc, json.JSONDecodeError) else ""
            raise ValueError(f"This is not valid JSON{place}.") from exc
    # A browser sends line breaks in the form of HTTP.
    return text.replace("\r\n", "\n")


def _number(text: str) -> int | float:
    if len(text) > LONGEST_NUMBER:
        raise ValueError("This number is too long.")
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    raise ValueError("Enter a number.")


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
    if value is None:
        return ""
    if kind == "json" or not isinstance(value, str | int | float):
        return json.dumps(value, indent=2, ensure_ascii=False)
    return str(value)


def _example(part: Mapping[str, Any], *, required: bool) -> Any:
    """The example of the class; of a required field without one, the simplest value of its type, if there is one."""
    if examples := part.get("examples"):
        return examples[0]
    if not required or part.get("enum"):
        return None
    by_type = {"string": "some text", "array": "[]", "object": "{}"}
    if part.get("type") in ("integer", "number"):
        return part.get("minimum", 1)
    return None if "pattern" in part or "format" in part else by_type.get(str(part.get("type")))


def _hint(part: Mapping[str, Any], required: bool) -> str:
    found = []
    if description := part.get("description"):
        found.append(str(description).rstrip(".") + ".")
    low, high = part.get("minimum"), part.get("maximum")
    high = high if high is not None and high < USEFUL_MAXIMUM else None
    if low is not None and high is not None:
        found.append(f"{low:,} to {high:,}.")
    elif low is not None:
        found.append(f"{low:,} or more.")
    elif high is not None:
        found.append(f"At most {high:,}.")
    if (example := _example(part, required=required)) is not None:
        found.append(f"Example: {example}{'' if str(example)[-1:] in '.!?' else '.'}")
    if _kind(part) == "json":
        found.append("As JSON.")
    if not required and _kind(part) != "checkbox":
        found.append("Optional.")
    return " ".join(found)
