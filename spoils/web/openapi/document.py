"""Builds the OpenAPI document: the routes of the API, with one endpoint for each job class."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from spoils.config import Settings
from spoils.job import Job
from spoils.job.registry import registry
from spoils.version import __version__
from spoils.web.masked_schema import masked_schema
from spoils.web.openapi.operation import Operation, operation_of
from spoils.web.openapi.schemas import Error

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]

ABOUT = (
    "Enqueues jobs, reads them and acts on them. Every error is an object whose `error` is a sentence, except where "
    "the request line or the headers are too long or malformed: the server refuses those before they reach the API, "
    "in HTML. Values under keys that name a secret are masked."
)
BY_CLASS = "api.jobs.create"
ITSELF = "api.document.openapi"
TOO_LONG = 414
ERRORS = {
    304: "Not modified since the response that `If-None-Match` names.",
    400: "The path, an argument, a header or the JSON of the body is malformed.",
    401: "A token is required.",
    403: "The token lacks the scope for this call, or the request comes from a page of another site.",
    404: "Not found.",
    409: "The state of the job does not allow the action, or a unique duplicate prevents it. Nothing was changed.",
    413: "The request body is too large.",
    414: "The request line is longer than 4,094 bytes. The server refuses it before the API, in HTML.",
    415: "Unsupported content type.",
    422: "The body is invalid, or the Idempotency-Key was used with another request. Nothing was changed.",
    429: "A client without a token exceeded the rate limit, or the queue is full.",
    501: "An optional package is not installed; the error names it.",
    503: "The database does not answer, or the query took too long.",
}
LOCATION = {
    "Location": {
        "description": "The path of the job.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    }
}
TASK_ID = {"type": "string", "format": "uuid", "description": "The id of a job."}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A key of your choice for this request. A repetition within 24 h changes nothing and gets the first "
    "response. Requires a token: without one the header is refused with 400.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path of the application."""

    path: str
    method: str
    name: str
    docstring: str
    operation: Operation
    job_class: type[Job] | None = None

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method != "get"


def make_document(app: Flask, root: str = "") -> Schema:
    """The OpenAPI 3.1 document of `app`, which is mounted under the prefix `root`."""
    settings: Settings = app.config["SPOILS"]
    endpoints = sorted(_endpoints(app), key=lambda one: one.path)
    components = _Components(endpoints)
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        operation = endpoint.operation
        is_open = operation.public or (operation.open and not settings.api_tokens)
        paths.setdefault(endpoint.path, {})[endpoint.method] = _described(
            endpoint, components, is_open=is_open
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Spoils", "version": __version__, "description": ABOUT},
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of SPOILS_API_TOKEN, or one made in the dashboard, with the scope.",
                }
            },
        },
    }


def _endpoints(app: Flask) -> Iterator[Endpoint]:
    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith("api.") or rule.endpoint == ITSELF:
            continue
        view = app.view_functions[rule.endpoint]
        if rule.endpoint == BY_CLASS:
            yield from _by_class(view)
            continue
        path = re.sub(r"<(?:[^:>]*:)?([^>]+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            name = f"{rule.endpoint.removeprefix('api.').replace('.', '_')}_{method.lower()}"
            docstring = inspect.getdoc(view) or rule.endpoint
            yield Endpoint(path, method.lower(), name, docstring, operation_of(view))


def _by_class(view: Callable[..., Any]) -> Iterator[Endpoint]:
    """An endpoint for each job class, of the one route that enqueues by the class's name."""
    for job_class in registry.public():
        name = job_class.__name__
        operation = replace(
            operation_of(view), tag="Job classes", body={"application/json": job_class}, open=job_class.open
        )
        docstring = f"Enqueue a {name}.\n\n{inspect.cleandoc(job_class.__doc__ or '')}"
        path = f"/api/jobs/{job_class.endpoint}"
        yield Endpoint(path, "post", f"enqueue_{name}", docstring, operation, job_class)


class _Components:
    """The schemas of all models, and the references to them."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        wanted: dict[tuple[type[BaseModel], Mode], None] = {(Error, "validation"): None}
        for endpoint in endpoints:
            operation = endpoint.operation
            wanted[operation.response, "serialization"] = None
            # As when they are read, since not every error has all of its fields.
            for model in (*operation.body.values(), *operation.error_models.values()):
                wanted[model, "validation"] = None
        self._refs, found = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
        self.schemas: dict[str, Schema] = masked_schema(found["$defs"])
        for endpoint in endpoints:
            if endpoint.job_class is not None:
                self._add_class(endpoint.job_class, endpoint.operation.response)

    def ref(self, model: type[BaseModel], mode: Mode) -> Schema:
        """The reference to the schema of a model."""
        return self._refs[model, mode]

    def of_class(self, job_class: type[Job]) -> Schema:
        """The reference to what is answered when a job of this class is enqueued."""
        return {"$ref": f"{self.ref(job_class, 'validation')['$ref']}Enqueued"}

    def _add_class(self, job_class: type[Job], response: type[BaseModel]) -> None:
        # A misspelt field is refused and not ignored.
        self._named(self.ref(job_class, "validation"))["additionalProperties"] = False
        base = self._named(self.ref(response, "serialization"))
        # Masking may change the type of a value, so the echoed payload has fields of any type.
        fields: dict[str, Schema] = {name: {} for name in job_class.model_fields} | base["properties"]
        self.schemas[self.of_class(job_class)["$ref"].rpartition("/")[2]] = {
            **base,
            "title": f"{job_class.__name__}Enqueued",
            "properties": fields,
            "required": list(fields),
        }

    def _named(self, ref: Schema) -> Schema:
        return self.schemas[ref["$ref"].rpartition("/")[2]]


def _described(endpoint: Endpoint, components: _Components, *, is_open: bool) -> Schema:
    operation = endpoint.operation
    summary, _, description = endpoint.docstring.partition("\n")
    parameters = [*_path_parameters(endpoint), *_query_parameters(operation.arguments)]
    response = (
        components.of_class(endpoint.job_class)
        if endpoint.job_class
        else components.ref(operation.response, "serialization")
    )
    responses = {"200": _response(operation.description, response, operation.media_type)}
    if operation.location:
        responses["200"]["headers"] = LOCATION
    for status in sorted(_errors(operation, writes=endpoint.writes, is_open=is_open)):
        model = operation.error_models.get(status, Error)
        schema = components.ref(model, "validation") if status >= 400 else None
        responses[str(status)] = _response(ERRORS[status], schema)
    responses[str(TOO_LONG)]["content"] = {"text/html": {}}
    described: Schema = {
        "operationId": endpoint.name,
        "summary": summary.strip().rstrip("."),
        "description": " ".join(description.split()),
        "tags": [operation.tag],
        "parameters": [*parameters, *([IDEMPOTENCY_KEY] if endpoint.writes else [])],
        "responses": responses,
        "security": [*([{}] if is_open else []), {"token": [operation.scope_for(endpoint.method)]}],
    }
    if operation.body:
        content = {
            kind: {"schema": components.ref(model, "validation")} for kind, model in operation.body.items()
        }
        described["requestBody"] = {"required": True, "content": content}
    return described


def _errors(operation: Operation, *, writes: bool, is_open: bool) -> set[int]:
    found = {400, TOO_LONG, 503, *operation.errors, *operation.error_models}
    found |= {413, 415, 422} if writes else set()
    found |= set() if is_open else {401}
    return found | (set() if operation.public else {403, 429})


def _response(description: str, schema: Schema | None, media_type: str = "application/json") -> Schema:
    content = {} if schema is None else {"content": {media_type: {"schema": schema}}}
    return {"description": description, **content}


def _path_parameters(endpoint: Endpoint) -> Iterator[Schema]:
    known = {"task_id": TASK_ID, **endpoint.operation.path}
    for name in re.findall(r"{(\w+)}", endpoint.path):
        yield _parameter(name, "path", known.get(name, {"type": "string"}))


def _query_parameters(arguments: type[BaseModel] | None) -> Iterator[Schema]:
    # Each schema is self-contained: what it refers to is written out.
    schema = arguments.model_json_schema() if arguments else {}
    for name, given in schema.get("properties", {}).items():
        named = schema["$defs"][given["$ref"].rpartition("/")[2]] if "$ref" in given else {}
        yield _parameter(name, "query", {**named, **given})


def _parameter(name: str, place: str, schema: Any) -> Schema:
    shown = {
        key: value
        for key, value in schema.items()
        if key not in ("title", "description", "$ref") and (key, value) != ("default", None)
    }
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": schema.get("description", ""),
        "schema": shown,
    }
