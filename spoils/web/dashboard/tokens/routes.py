"""The page of API tokens: making one, which shows its secret once, and revoking one."""

from flask import Response, abort, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.models import db
from spoils.queue import api_tokens
from spoils.web.dashboard import access
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared.flashes import add_flash
from spoils.web.dashboard.shared.status_bar import read_status_bar
from spoils.web.dashboard.tokens.view import InvalidForm, read_form, show_tokens


@bp.get("/tokens")
def tokens() -> ResponseReturnValue:
    """The tokens, without their secrets, and the form to make one."""
    return _page()


@bp.post("/tokens")
def make_token() -> ResponseReturnValue:
    """Make a token, and show its secret in this response alone."""
    try:
        form = read_form(request.form)
    except InvalidForm as wrong:
        return _page(str(wrong)), 422
    connection = db.session.connection()
    if len(api_tokens.all_tokens(connection)) >= api_tokens.MOST:
        return _page(
            f"At most {api_tokens.MOST} tokens are possible. Revoke one that is not used any more."
        ), 422
    secret = api_tokens.make(connection, form.name, form.scopes, days=form.days, who=access.who())
    if secret is None:
        return _page(f"There is already a token {form.name}. Choose another name, or revoke it first."), 409
    db.session.commit()
    # Not in a flash: its cookie is signed, but can be read.
    response: Response = make_response(render_template("tokens/made.html", name=form.name, secret=secret))
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.post("/tokens/<int:token_id>/revocations")
def revoke_token(token_id: int) -> ResponseReturnValue:
    """Revoke a token: calls with it are refused from now on."""
    if token_id >= 2**63:
        abort(404)
    name = api_tokens.revoke(db.session.connection(), token_id, who=access.who())
    db.session.commit()
    if name is None:
        add_flash("refused", "Refused: there is no such token. It may have been revoked already.")
    else:
        add_flash("done", f"Revoked the token {name}. Calls with it are refused.")
    return redirect(url_for("dashboard.tokens"), 303)


def _page(wrong: str | None = None) -> str:
    bar = read_status_bar(db.session())
    page = show_tokens(db.session(), bar)
    return render_template("tokens/index.html", bar=bar, page=page, wrong=wrong, form=request.form)
