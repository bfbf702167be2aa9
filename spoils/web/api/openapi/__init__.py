"""The OpenAPI document of the API, made from the job classes and the routes."""

from spoils.web.api.openapi.document import make_document

__all__ = ["make_document"]
