"""The OpenAPI document of the API, generated from the routes, their pydantic models and the job classes."""

from spoils.web.openapi.document import make_document
from spoils.web.openapi.operation import operation
from spoils.web.openapi.schemas import Error, Instant, Response

__all__ = ["Error", "Instant", "Response", "make_document", "operation"]
