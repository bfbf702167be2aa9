"""The page of the API, made from the OpenAPI document alone."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]

_METHODS = ("get", "post", "put", "patch", "delete")
_NOT_A_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Line:
    """A parameter, a field or a response: its name, its type, and its description."""

    name: str
    type: str
    about: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path."""

    anchor: str
    method: str
    path: str
    summary: str
    about: str
    open: bool
    parameters: tuple[Line, ...]
    body: tuple[Line, ...]
    body_types: str
    responses: tuple[Line, ...]
    errors: str
    curl: str


@dataclass(frozen=True, slots=True)
class Group:
    """The endpoints with one tag."""

    name: str
    endpoints: tuple[Endpoint, ...]


def list_endpoints(document: Document, base_url: str) -> tuple[Group, ...]:
    """The endpoints by tag, each with a curl command for `base_url`."""
    groups: dict[str, list[Endpoint]] = {}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if operation := methods.get(method):
                shown = _endpoint(document, base_url, path, method, operation)
                groups.setdefault(operation["tags"][0], []).append(shown)
    first = ("Job classes", "Jobs", "Queue")
    names = sorted(groups, key=lambda name: (first.index(name) if name in first else len(first), name))
    return tuple(Group(name, tuple(groups[name])) for name in names)


def list_errors(document: Document) -> tuple[Line, ...]:
    """The meaning of each error status, once for all endpoints."""
    found = {
        status: _plain(answer["description"])
        for methods in document["paths"].values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if status >= "3"
    }
    return tuple(Line(status, "", words) for status, words in sorted(found.items()))


def _plain(text: str) -> str:
    return text.replace("`", "")


def _endpoint(document: Document, base_url: str, path: str, method: str, operation: Document) -> Endpoint:
    content = operation.get("requestBody", {}).get("content", {})
    schema = _resolved(document, next(iter(content.values()))["schema"]) if content else {}
    return Endpoint(
        anchor=_NOT_A_NAME.sub("-", f"{method} {path}".lower()).strip("-"),
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        about=_plain(operation.get("description", "")),
        open={} in operation["security"],
        parameters=tuple(
            Line(one["name"], _type(document, one["schema"]), _plain(one.get("description", "")))
            for one in operation.get("parameters", ())
        ),
        body=_fields(document, schema),
        body_types=" or ".join(content),
        responses=tuple(
            Line(status, _response_type(answer), _plain(answer["description"]))
            for status, answer in operation["responses"].items()
            if status < "3"
        ),
        errors=", ".join(status for status in operation["responses"] if status >= "3"),
        curl=_curl(document, base_url + path, method, operation, schema),
    )


def _fields(document: Document, schema: Document) -> tuple[Line, ...]:
    if schema.get("type") == "array":
        schema = _resolved(document, schema["items"])
    needed = schema.get("required", ())
    return tuple(
        Line(
            name,
            _type(document, field) + ("" if name in needed else ", optional"),
            field.get("description", ""),
        )
        for name, field in schema.get("properties", {}).items()
    )


def _type(document: Document, schema: Document) -> str:
    schema = _resolved(document, schema)
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(document, one) for one in schema["anyOf"])
    kind = schema.get("type", "any")
    words = [" | ".join(kind) if isinstance(kind, list) else str(kind)]
    if "format" in schema:
        words.append(f"({schema['format']})")
    if "minimum" in schema and "maximum" in schema:
        words.append(f"{schema['minimum']} to {schema['maximum']}")
    if "default" in schema and schema["default"] is not None:
        words.append(f"(default {json.dumps(schema['default'])})")
    return " ".join(words)


def _response_type(answer: Document) -> str:
    ((media_type, body),) = answer["content"].items()
    if media_type != "application/json":
        return str(media_type)
    return str(body["schema"].get("$ref", "")).rpartition("/")[2]


def _curl(document: Document, url: str, method: str, operation: Document, schema: Document) -> str:
    lines = [f"curl {url}" if method == "get" else f"curl -X {method.upper()} {url}"]
    if {} not in operation["security"]:
        lines.append('-H "Authorization: Bearer <token>"')
    if schema:
        example = json.dumps(_example(document, schema), ensure_ascii=False).replace("'", "'\\''")
        lines += ['-H "Content-Type: application/json"', f"-d '{example}'"]
    return " \\\n  ".join(lines)


def _example(document: Document, schema: Document) -> Any:
    schema = _resolved(document, schema)
    for given in ("examples", "enum"):
        if given in schema:
            return schema[given][0]
    if "default" in schema:
        return schema["default"]
    if schema.get("type") == "array":
        return [_example(document, schema["items"])]
    if schema.get("type") == "object":
        needed = schema.get("required", ())
        return {name: _example(document, schema["properties"][name]) for name in needed}
    return {"integer": schema.get("minimum", 1), "number": 1.5, "boolean": True}.get(
        str(schema.get("type")), "…"
    )


def _resolved(document: Document, schema: Document) -> Document:
    if "$ref" not in schema:
        return schema
    found: Document = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found
