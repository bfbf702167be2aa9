"""The list of batches and chains, and the page of one."""

from uuid import UUID

from flask import abort, render_template, request
from flask.typing import ResponseReturnValue

from spoils.models import db
from spoils.reports.batches import Key, find
from spoils.web import paging
from spoils.web.dashboard.batches.view import list_batches, show_batch
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared.filters import BAD_PLACE, read_text
from spoils.web.dashboard.shared.status_bar import read_status_bar


@bp.get("/batches")
def batches() -> ResponseReturnValue:
    """Every batch and chain, the last enqueued first."""
    older, newer = _place("older"), _place("newer")
    if older and newer:
        abort(400, "Use either older or newer, not both.")
    bar = read_status_bar(db.session())
    page = list_batches(db.session(), bar, older, newer)
    return render_template("batches/index.html", bar=bar, batches=page)


@bp.get("/batches/<uuid:batch_id>")
def batch(batch_id: UUID) -> ResponseReturnValue:
    """Its progress, its members by state, and what follows."""
    row = find(db.session(), batch_id)
    if row is None:
        abort(404, "There is no batch with this id. It may be past its retention.")
    bar = read_status_bar(db.session())
    return render_template("batches/show.html", bar=bar, batch=show_batch(db.session(), row, bar))


def _place(name: str) -> Key | None:
    text = read_text(request.args, name)
    if text is None:
        return None
    try:
        return paging.decode(text, UUID)
    except paging.BadCursor:
        abort(400, BAD_PLACE)
