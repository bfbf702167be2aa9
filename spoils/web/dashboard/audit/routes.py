"""The page of the audit log."""

from flask import abort, render_template, request
from flask.typing import ResponseReturnValue

from spoils.models import db
from spoils.web.dashboard.audit.view import show_audit_log
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared.filters import BAD_PLACE, BOTH_PLACES
from spoils.web.dashboard.shared.status_bar import read_status_bar

LARGEST_ID = 2**62


@bp.get("/audit")
def audit_trail() -> ResponseReturnValue:
    """Every action of an operator, the newest first."""
    older, newer = _entry_id("older"), _entry_id("newer")
    if older and newer:
        abort(400, BOTH_PLACES)
    bar = read_status_bar(db.session())
    page = show_audit_log(db.session(), bar, older, newer)
    return render_template("audit/index.html", bar=bar, audit=page)


def _entry_id(name: str) -> int | None:
    text = request.args.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) < LARGEST_ID):
        abort(400, BAD_PLACE)
    return int(text)
