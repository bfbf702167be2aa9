"""Reads a product through the API."""

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
from spoils.web.api.openapi.operations import Operation, argument
from spoils.web.api.openapi.schemas import (
    ANYTHING,
    MOMENT,
    NUMBER,
    NUMBER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    record,
)

routes = Blueprint("products", __name__, url_prefix="/api/products")

SCHEMAS = {
    "Product": record(
        "A product as fetched; `analysis` is null until its ingredients are analysed.",
        id=NUMBER,
        barcode=TEXT,
        name=TEXT_OR_NULL,
        brands=TEXT_OR_NULL,
        categories=ANYTHING,
        quantity=TEXT_OR_NULL,
        image_url=TEXT_OR_NULL,
        nutriscore=TEXT_OR_NULL,
        nova_group=NUMBER_OR_NULL,
        ecoscore=TEXT_OR_NULL,
        ingredients_text=TEXT_OR_NULL,
        allergens=ANYTHING,
        fetched_at=MOMENT,
        analysis={"type": ["object", "null"]},
    )
}
OPERATIONS = {
    ("api.products.show", "GET"): Operation(
        "Read a product",
        tag="Products",
        description="As it was fetched, with the analysis of its ingredients.",
        arguments=(
            argument(
                "barcode",
                "8 to 14 digits; leading zeros do not matter.",
                {**TEXT, "pattern": "^[0-9]{8,14}$"},
                place="path",
            ),
        ),
        answers={200: ("The product.", "Product")},
        errors=(304, 404),
    )
}

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
    kept = SCHEMAS["Product"]["properties"].keys() - {"fetched_at", "analysis"}
    told = {name: getattr(row, name) for name in kept}
    found = {**analysis.analysis, "analysed_at": serialize.moment(analysis.updated_at)} if analysis else None
    return {**told, "fetched_at": serialize.moment(row.updated_at), "analysis": found}
