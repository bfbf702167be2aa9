"""What the models of all endpoints build on."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel

Instant = Annotated[datetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
"""A moment, written as ISO 8601 in UTC."""


class Response(BaseModel):
    """A response body: it serializes the answer, and its schema describes it in the OpenAPI document."""

    model_config = ConfigDict(from_attributes=True, frozen=True, use_attribute_docstrings=True)


class Error(Response):
    """Every error: one sentence, and for an invalid payload a message for each field."""

    error: str
    fields: dict[str, str] = Field(default_factory=dict)


class Anything(RootModel[Any]):
    """A response without a documented model."""
