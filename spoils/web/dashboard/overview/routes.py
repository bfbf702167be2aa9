"""The overview."""

from flask import abort, render_template, request
from flask.typing import ResponseReturnValue

from spoils.models import db
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.overview.ranges import RANGES
from spoils.web.dashboard.overview.view import show_overview
from spoils.web.dashboard.shared.filters import read_text
from spoils.web.dashboard.shared.status_bar import read_status_bar


@bp.get("/")
def home() -> ResponseReturnValue:
    """Charts, the table by type, and what is due in the next 24 hours."""
    shown = RANGES.get(request.args.get("range") or "1h")
    if shown is None:
        abort(400, "Unknown range. The ranges are 1h, 24h and 7d.")
    task_type = read_text(request.args, "type")
    bar = read_status_bar(db.session())
    overview = show_overview(
        db.session(), bar, shown, task_type, all_types=request.args.get("types") == "all"
    )
    return render_template(
        "overview/index.html", bar=bar, overview=overview, ranges=RANGES.values(), shown=shown
    )
