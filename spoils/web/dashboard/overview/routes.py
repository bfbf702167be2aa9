"""The overview."""

from flask import abort, render_template, request
from flask.typing import ResponseReturnValue

from spoils.models import db
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.overview.ranges import RANGES
from spoils.web.dashboard.overview.view import look_over
from spoils.web.dashboard.shared import status_bar as strip
from spoils.web.dashboard.shared.filters import read_text

NO_RANGE = "There is no such range. The ranges are 1h, 24h and 7d."


@bp.get("/")
def home() -> ResponseReturnValue:
    """How work flows."""
    shown = RANGES.get(request.args.get("range") or "1h")
    if shown is None:
        abort(400, NO_RANGE)
    task_type = read_text(request.args, "type")
    seen = strip.look(db.session())
    overview = look_over(db.session(), seen, shown, task_type, everything=request.args.get("types") == "all")
    return render_template(
        "overview/index.html", strip=seen, overview=overview, ranges=RANGES.values(), shown=shown
    )
