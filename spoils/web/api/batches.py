"""Batches and chains."""

from uuid import UUID

from flask import Blueprint, Response, abort

from spoils.models import db
from spoils.reports import batches
from spoils.web.api.responses import BatchOrChain, Counts, respond
from spoils.web.openapi import operation

routes = Blueprint("batches", __name__, url_prefix="/api/batches")


@routes.get("/<uuid:batch_id>")
@operation(BatchOrChain, "The batch or chain.", errors=(404,))
def show(batch_id: UUID) -> Response:
    """Get a batch or chain.

    The counts of its members, and what it has enqueued.
    """
    row = batches.find(db.session, batch_id)
    if row is None:
        abort(404, f"There is no batch {batch_id}. It was never enqueued, or it is past its retention.")
    return respond(
        BatchOrChain(
            id=row.id,
            kind="batch" if row.links is None else "chain",
            name=row.name,
            condition=row.condition,
            created_at=row.created_at,
            ended_at=row.ended_at,
            counts=Counts.model_validate(row),
            links_to_come=len(row.links or ()),
            enqueued_id=row.enqueued_id,
        )
    )
