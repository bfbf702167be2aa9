"""The page of all that was done by hand."""

from flask import abort, render_template, request
from flask.typing import ResponseReturnValue

from spoils.models import db
from spoils.web.dashboard.audit.view import show_all
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared import status_bar as strip

FARTHEST = 2**62


@bp.get("/audit")
def audit_trail() -> ResponseReturnValue:
    """Every verb, the last first."""
    older, newer = _place("older"), _place("newer")
    if older and newer:
        abort(400, "A list goes on to older entries or to newer ones, not to both.")
    seen = strip.look(db.session())
    return render_template("audit/index.html", strip=seen, audit=show_all(db.session(), seen, older, newer))


def _place(name: str) -> int | None:
    text = request.args.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) < FARTHEST):
        abort(400, "The place in the list is not one that a page here links to. Begin again at the newest.")
    return int(text)
