"""`GET /api/products/<barcode>`: what the jobs fetched and analysed."""

from typing import Any

from flask import Blueprint, abort, request
from flask.typing import ResponseReturnValue
from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import select

from spoils.food import models
from spoils.food.barcode import Barcode, normalise
from spoils.job.base import field_messages
from spoils.models import db
from spoils.web.api.responses import respond
from spoils.web.openapi import Instant, Response, operation

routes = Blueprint("products", __name__, url_prefix="/api/products")

_barcode: TypeAdapter[str] = TypeAdapter(Barcode)
BARCODE = {
    "type": "string",
    "pattern": "^[0-9]{8,14}$",
    "description": "8 to 14 digits, with or without leading zeros.",
}


class Analysis(Response, extra="allow"):
    """The analysis of a product's ingredients."""

    analysed_at: Instant


class Product(Response):
    """A product as fetched; `analysis` is null until its ingredients are analysed."""

    id: int
    barcode: str
    name: str | None
    brands: str | None
    categories: Any
    quantity: str | None
    image_url: str | None
    nutriscore: str | None
    nova_group: int | None
    ecoscore: str | None
    ingredients_text: str | None
    allergens: Any
    fetched_at: Instant = Field(validation_alias="updated_at")
    analysis: Analysis | None = None


@routes.get("/<barcode>")
@operation(Product, "The product.", tag="Products", path={"barcode": BARCODE}, errors=(304, 404), open=True)
def show(barcode: str) -> ResponseReturnValue:
    """Get a product.

    As it was fetched, with the analysis of its ingredients.
    """
    try:
        code = normalise(_barcode.validate_python(barcode, strict=True))
    except ValidationError as exc:
        abort(400, next(iter(field_messages(exc).values())))
    row = db.session.scalar(select(models.Product).where(models.Product.barcode == code))
    if row is None:
        abort(404, f"Product {code} has not been fetched. POST it to /api/jobs/fetch-product first.")
    product = Product.model_validate(row)
    if found := db.session.get(models.IngredientAnalysis, row.id):
        analysis = Analysis.model_validate({**found.analysis, "analysed_at": found.updated_at})
        product = product.model_copy(update={"analysis": analysis})
    response = respond(product)
    response.add_etag()
    return response.make_conditional(request)
