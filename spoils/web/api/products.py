"""Reading what the jobs made."""

from flask import Blueprint, abort, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from spoils.barcode import Barcode, normalise
from spoils.job.base import field_messages
from spoils.models import IngredientAnalysis, Product, db
from spoils.web.api import serialize

routes = Blueprint("products", __name__, url_prefix="/api/products")

_barcode: TypeAdapter[str] = TypeAdapter(Barcode)


@routes.get("/<barcode>")
def show(barcode: str) -> ResponseReturnValue:
    """The product of that code, leading zeros or not, and the analysis of its ingredients."""
    try:
        code = normalise(_barcode.validate_python(barcode, strict=True))
    except ValidationError as exc:
        abort(400, next(iter(field_messages(exc).values())))
    row = db.session.scalar(select(Product).where(Product.barcode == code))
    if row is None:
        abort(404, f"Product {code} has not been fetched. POST it to /api/jobs/fetch-product first.")
    response = jsonify(serialize.product(row, db.session.get(IngredientAnalysis, row.id)))
    response.add_etag()
    return response.make_conditional(request)
