"""`/metrics`: the figures of the queue for Prometheus."""

from importlib.util import find_spec

from flask import Blueprint, Response, abort, current_app
from pydantic import RootModel
from sqlalchemy import text

from spoils.models import db
from spoils.web.openapi import operation

NOT_INSTALLED = (
    "Metrics need the package prometheus-client, which is not installed: pip install 'spoils[metrics]'."
)

routes = Blueprint("metrics", __name__)


class Metrics(RootModel[str]):
    """Metrics in Prometheus' text format."""


@routes.get("/metrics")
@operation(Metrics, "The metrics.", tag="Queue", media_type="text/plain", errors=(501,))
def metrics() -> Response:
    """Get metrics in Prometheus' text format.

    Jobs by task type and state, outcomes and run times of attempts, workers and database connections.
    """
    if find_spec("prometheus_client") is None:
        abort(501, NOT_INSTALLED)
    # Imported here: the package is optional, and only a program that is scraped needs it.
    from spoils.web.api import prometheus  # noqa: PLC0415

    # All statements of a scrape read one snapshot.
    db.session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    return current_app.response_class(
        prometheus.text_format(db.session), content_type=prometheus.CONTENT_TYPE
    )
