"""Reading what the jobs made."""

from typing import Any

from flask import Blueprint, abort, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from spoils.food.barcode import Barcode, normalise
from spoils.food.models import IngredientAnalysis, Product
from spoils.job.base import field_messages
from spoils.models import db
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
    response = jsonify(_product(row, db.session.get(IngredientAnalysis, row.id)))
    response.add_etag()
    return response.make_conditional(request)


def _product(row: Product, analysis: IngredientAnalysis | None) -> dict[str, Any]:
    """A product as fetched, with the analysis of its ingredients where there is one."""
    return {
        "id": row.id,
        "barcode": row.barcode,
        "name": row.name,
        "brands": row.brands,
        "categories": row.categories,
        "quantity": row.quantity,
        "image_url": row.image_url,
        "nutriscore": row.nutriscore,
        "nova_group": row.nova_group,
        "ecoscore": row.ecoscore,
        "ingredients_text": row.ingredients_text,
        "allergens": row.allergens,
        "fetched_at": serialize.moment(row.updated_at),
        "analysis": {**analysis.analysis, "analysed_at": serialize.moment(analysis.updated_at)}
        if analysis
        else None,
    }
