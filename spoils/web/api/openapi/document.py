"""Putting the document together: the routes that there are, and an endpoint for each job class."""

import inspect
import re
from typing import Any

from flask import Flask

from spoils.config import Settings
from spoils.job import Job
from spoils.job.registry import registry
from spoils.version import __version__
from spoils.web.api.openapi.operations import (
    DESCRIPTIONS,
    ENQUEUED,
    IDEMPOTENCY_KEY,
    OPERATIONS,
    Operation,
    of,
    path_arguments,
)
from spoils.web.api.openapi.schemas import SCHEMAS, Schema, record, ref
from spoils.web.api.order import OrderIn
from spoils.web.api.tokens import OPEN_READS
from spoils.web.extension import extensions_of, open_reads
from spoils.web.masking import masked_schema

ABOUT = (
    "Enqueue jobs, look at them and act on them. Every error is an object whose `error` is a sentence, but for a head "
    "that is too long or breaks the rules of HTTP: the server refuses that before the API, in HTML. "
    "What stands under a key that names a secret is shown as dots."
)
ORDER = "#/components/schemas/{model}"
BY_CLASS = "api.jobs.create"
ITSELF = "api.document.openapi"
TOO_LONG = 414
HEALTH = "api.health.health"


def make_document(app: Flask) -> Schema:
    """The OpenAPI 3.1 document of `app`."""
    settings: Settings = app.config["SPOILS"]
    schemas = {**SCHEMAS, "Anything": {}}
    operations = dict(OPERATIONS)
    for extension in extensions_of(app):
        schemas.update(extension.schemas)
        operations.update(extension.operations)
    without_token = OPEN_READS | open_reads(app)
    _lift(schemas, "Order", OrderIn)
    schemas["Order"]["properties"]["type"]["enum"] = sorted(
        {name for one in registry.public() for name in (one.__name__, one.endpoint, one.task_type)}
    )
    paths: dict[str, Schema] = {}
    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith("api.") or rule.endpoint in (BY_CLASS, ITSELF):
            continue
        path = re.sub(r"<(?:[^:>]*:)?([^>]+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            docstring = app.view_functions[rule.endpoint].__doc__ or rule.endpoint
            operation = of(operations, rule.endpoint, method, docstring)
            described = {one["name"] for one in operation.arguments}
            is_open = rule.endpoint == HEALTH or (rule.endpoint in without_token and not settings.api_tokens)
            paths.setdefault(path, {})[method.lower()] = _operation(
                operation,
                f"{rule.endpoint.removeprefix('api.').replace('.', '_')}_{method.lower()}",
                path_arguments(set(rule.arguments) - described),
                is_open=is_open,
                limited=rule.endpoint != HEALTH,
            )
    for job_class in registry.public():
        _lift(schemas, job_class.__name__, job_class)
        paths[f"/api/jobs/{job_class.endpoint}"] = {
            "post": _operation(
                _enqueueing(job_class, schemas),
                f"enqueue_{job_class.__name__}",
                [],
                is_open=job_class.open and not settings.api_tokens,
            )
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Spoils", "version": __version__, "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of SPOILS_API_TOKEN."}
            },
        },
    }


def _operation(
    operation: Operation,
    operation_id: str,
    path_parameters: list[Schema],
    *,
    is_open: bool,
    limited: bool = True,
) -> Schema:
    writes = operation.writes
    parameters = [*path_parameters, *operation.arguments, *([IDEMPOTENCY_KEY] if writes else [])]
    errors = {400, TOO_LONG, 503, *operation.errors}
    errors |= {403, 413} if writes else set()
    errors |= set() if is_open else {401}
    errors |= {429} if limited else set()
    answers = {
        str(status): _answer(words, ref(schema))
        for status, (words, schema) in sorted(operation.answers.items())
    }
    for status in sorted(errors | set(operation.refusals)):
        schema = ref(operation.refusals.get(status, "Error")) if status >= 400 else None
        answers[str(status)] = _answer(DESCRIPTIONS[status], schema)
    answers[str(TOO_LONG)] = {"description": DESCRIPTIONS[TOO_LONG], "content": {"text/html": {}}}
    told: Schema = {
        "operationId": operation_id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": answers,
        "security": [{}, {"token": []}] if is_open else [{"token": []}],
    }
    if operation.description:
        told["description"] = operation.description
    if parameters:
        told["parameters"] = parameters
    if operation.body:
        told["requestBody"] = {
            "required": operation.body_needed,
            "content": {kind: {"schema": schema} for kind, schema in operation.body.items()},
        }
    return told


def _answer(words: str, schema: Schema | None) -> Schema:
    return {
        "description": words,
        **({"content": {"application/json": {"schema": schema}}} if schema is not None else {}),
    }


def _enqueueing(job_class: type[Job], schemas: dict[str, Schema]) -> Operation:
    name = job_class.__name__
    fields = schemas[name].get("properties", {})
    outcome = SCHEMAS["Outcome"]["properties"]
    # Values under names of secrets are masked, so what is echoed may be of another form than what was sent.
    schemas[f"{name}Enqueued"] = record(
        f"The task that stands for a {name}, and its payload.",
        **{**{field: {} for field in fields}, "message": {"type": "string"}, **outcome},
    )
    return Operation(
        f"Enqueue a {name}",
        tag="Job classes",
        description=inspect.cleandoc(job_class.__doc__ or ""),
        body={"application/json": ref(name)},
        answers={200: (ENQUEUED, f"{name}Enqueued")},
        errors=(413, 415, 422),
        writes=True,
    )


def _lift(schemas: dict[str, Schema], name: str, model: type[Any]) -> None:
    """Put a model's schema among the components, and what it refers to beside it."""
    schema = masked_schema(model.model_json_schema(ref_template=ORDER))
    schemas.update(schema.pop("$defs", {}))
    # What is unknown is refused: a client's spelling mistake must be told.
    schemas[name] = {**schema, "additionalProperties": False}
