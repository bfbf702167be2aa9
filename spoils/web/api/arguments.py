"""The arguments of a query string, read by a pydantic model: an unknown or invalid one is answered with 400."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from flask import abort, request
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from spoils.job.base import sentences
from spoils.web import paging


class Arguments(BaseModel):
    """The query string of one endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def of_request(cls) -> Self:
        """The arguments of this request. Aborts with 400 and a sentence."""
        for name, values in request.args.lists():
            if name not in cls.model_fields:
                known = ", ".join(sorted(cls.model_fields))
                abort(400, f'Unknown argument "{name[:100]}". Known arguments: {known}.')
            if len(values) > 1:
                abort(400, f"The argument {name} is given more than once.")
        try:
            return cls.model_validate(request.args.to_dict())
        except ValidationError as exc:
            abort(400, sentences(exc))


def _digits(value: Any) -> Any:
    # Pydantic would also take spaces, underscores and signs.
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise PydanticCustomError("digits", "A number in ASCII digits is required.")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("printable", "Only printable characters are allowed.")
    return value


def _cursor(value: str) -> tuple[datetime, UUID]:
    try:
        return paging.decode(value, UUID)
    except paging.BadCursor as exc:
        raise PydanticCustomError(
            "cursor", "This is not a cursor of an earlier response. Start again without it."
        ) from exc


Digits = BeforeValidator(_digits)
"""For a number: only ASCII digits."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=255), BeforeValidator(_printable)]
Cursor = Annotated[
    tuple[datetime, UUID],
    BeforeValidator(_cursor),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": paging.LONGEST}),
]
Absent = SkipJsonSchema[None]
"""The value of an argument that is not given; no client can send it."""
