"""The health check."""

from flask import Blueprint, Response
from sqlalchemy import text

from spoils.models import db
from spoils.web.api.responses import Health, respond
from spoils.web.openapi import operation

routes = Blueprint("health", __name__)


@routes.get("/health")
@operation(Health, tag="Queue", public=True)
def health() -> Response:
    """Health check.

    200 while the database answers, else 503.
    """
    db.session.execute(text("SELECT 1"))
    return respond(Health(status="ok"))
