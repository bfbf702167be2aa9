"""The pages of products, and the jobs that make one again."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from spoils.errors import PayloadError
from spoils.food.barcode import is_barcode, normalise
from spoils.food.dashboard.product_view import ANALYSE, FETCH, find_product, list_products, show_product
from spoils.food.models import Product
from spoils.job import Job
from spoils.job.base import sentences
from spoils.job.registry import registry
from spoils.models import db
from spoils.queue.enqueue import DuplicateVanished
from spoils.web import paging
from spoils.web.dashboard.shared import by_hand
from spoils.web.dashboard.shared.filters import BAD_PLACE, BOTH_PLACES
from spoils.web.dashboard.shared.flashes import add_flash
from spoils.web.dashboard.shared.status_bar import read_status_bar

pages = Blueprint("food", __name__)

NO_PRODUCT = "No product of this barcode has been fetched."


@pages.get("/products")
def products() -> ResponseReturnValue:
    """What was fetched, the last first."""
    older, newer = request.args.get("older") or None, request.args.get("newer") or None
    try:
        older_than = paging.decode(older, int) if older else None
        newer_than = paging.decode(newer, int) if newer else None
    except paging.BadCursor:
        abort(400, BAD_PLACE)
    if older_than and newer_than:
        abort(400, BOTH_PLACES)
    bar = read_status_bar(db.session())
    page = list_products(db.session(), bar.now, older_than, newer_than)
    return render_template(
        "food/index.html",
        bar=bar,
        products=page,
        newer=paging.encode(*page.newer) if page.newer else None,
        older=paging.encode(*page.older) if page.older else None,
        middle=bool(older_than or newer_than),
    )


@pages.get("/products/<barcode>")
def product(barcode: str) -> ResponseReturnValue:
    """One product, under its normalised code."""
    found = _product(barcode)
    if found.barcode != barcode:
        return redirect(url_for("dashboard.food.product", barcode=found.barcode), 302)
    bar = read_status_bar(db.session())
    return render_template("food/show.html", bar=bar, product=show_product(db.session(), found, bar))


@pages.post("/products/<barcode>/fetches")
def fetch_product(barcode: str) -> ResponseReturnValue:
    """Enqueue the job that fetches it."""
    found = _product(barcode)
    return _enqueue(FETCH, {"barcode": found.barcode}, found.barcode)


@pages.post("/products/<barcode>/analyses")
def analyse_product(barcode: str) -> ResponseReturnValue:
    """Enqueue the job that analyses its ingredients."""
    found = _product(barcode)
    return _enqueue(ANALYSE, {"product_id": found.id}, found.barcode)


def _product(barcode: str) -> Product:
    found = find_product(db.session(), normalise(barcode)) if is_barcode(barcode) else None
    if found is None:
        abort(404, NO_PRODUCT)
    return found


def _enqueue(name: str, fields: dict[str, object], barcode: str) -> ResponseReturnValue:
    try:
        enqueued = by_hand.enqueue_job(_job(name, fields))
    except ValidationError as exc:
        add_flash("refused", f"Nothing was enqueued. {sentences(exc)}")
    except (PayloadError, DuplicateVanished) as exc:
        add_flash("refused", f"Nothing was enqueued. {exc}")
    else:
        words = "The same unique job already exists." if enqueued.duplicate else "Enqueued the job."
        add_flash("done", words, enqueued.id, duplicate=enqueued.duplicate)
    return redirect(url_for("dashboard.food.product", barcode=barcode), 303)


def _job(name: str, fields: dict[str, object]) -> Job:
    job_class = registry.get(name)
    if job_class is None:
        raise PayloadError(f"There is no job class {name} here.")
    return job_class.model_validate(fields)
