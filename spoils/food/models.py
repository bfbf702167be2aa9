"""What the jobs of the food service make: products and the analyses of their ingredients."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Identity, Index, Integer, SmallInteger, String, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from spoils.models.base import Base

_MOMENT = DateTime(timezone=True)


class Product(Base):
    """A product as fetched from Open Food Facts, under its normalised code."""

    __tablename__ = "products"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)
    barcode: Mapped[str] = mapped_column(String(14), unique=True)
    name: Mapped[str | None] = mapped_column(Text)
    brands: Mapped[str | None] = mapped_column(Text)
    categories: Mapped[str | None] = mapped_column(Text)
    quantity: Mapped[str | None] = mapped_column(Text)
    image_url: Mapped[str | None] = mapped_column(Text)
    nutriscore: Mapped[str | None] = mapped_column(String(1))  # a … e
    nova_group: Mapped[int | None] = mapped_column(SmallInteger)  # 1 … 4
    ecoscore: Mapped[str | None] = mapped_column(String(8))
    ingredients_text: Mapped[str | None] = mapped_column(Text)
    allergens: Mapped[list[str]] = mapped_column(JSONB, server_default="[]")
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)  # the whole response
    fetched_by: Mapped[UUID | None] = mapped_column(Uuid)  # the task
    created_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())

    __table_args__ = (Index("products_updated_idx", "updated_at", "id"),)


class IngredientAnalysis(Base):
    """What is in a product, as far as its data tells."""

    __tablename__ = "ingredient_analyses"

    product_id: Mapped[int] = mapped_column(ForeignKey(Product.id, ondelete="CASCADE"), primary_key=True)
    source: Mapped[str] = mapped_column(String)  # list, text, none
    vegan: Mapped[str] = mapped_column(String)  # yes, no, maybe, unknown
    vegetarian: Mapped[str] = mapped_column(String)
    palm_oil: Mapped[str] = mapped_column(String)
    analysis: Mapped[dict[str, Any]] = mapped_column(JSONB)  # `Analysis.as_json()`
    analysed_by: Mapped[UUID | None] = mapped_column(Uuid)  # the task
    created_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(_MOMENT, server_default=func.now())
