"""The few fields of a product that Spoils keeps in columns; fields of odd types never raise."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from spoils.food.ingredients.normalise import unescape

_SHORT = 1_000
_LONG = 20_000
_MAX_TAGS = 100
_GRADES = set("abcde")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_LANGUAGE_PREFIX = re.compile(r"^[a-z]{2,3}:")


@dataclass(frozen=True)
class FetchedProduct:
    """One product as Open Food Facts returned it, field for column."""

    barcode: str
    name: str | None
    brands: str | None
    categories: str | None
    quantity: str | None
    image_url: str | None
    nutriscore: str | None
    nova_group: int | None
    ecoscore: str | None
    ingredients_text: str | None
    allergens: list[str]
    #: The whole answer, cleaned so that jsonb takes it.
    document: dict[str, Any]


def read_product(barcode: str, document: dict[str, Any]) -> FetchedProduct:
    """Choose the fields; `document["product"]` is an object."""
    product: Mapping[str, Any] = document["product"]
    return FetchedProduct(
        barcode=barcode,
        name=_translated(product, "product_name", _SHORT) or _translated(product, "generic_name", _SHORT),
        brands=_text(product.get("brands"), _SHORT),
        categories=_categories(product),
        quantity=_text(product.get("quantity"), _SHORT),
        image_url=_image(product.get("image_front_url")) or _image(product.get("image_url")),
        nutriscore=_grade(product, "nutriscore_grade", "nutrition_grades", "nutrition_grade_fr"),
        nova_group=_nova(product.get("nova_group")),
        ecoscore=_grade(product, "ecoscore_grade", "environmental_score_grade"),
        ingredients_text=_translated(product, "ingredients_text", _LONG),
        allergens=_tags(product.get("allergens_tags")),
        document=document,
    )


def _translated(product: Mapping[str, Any], field: str, limit: int) -> str | None:
    """The field itself, else in the product's own language, else in English, else in any."""
    languages = [product.get("lc"), product.get("lang"), "en"]
    names = [field] + [f"{field}_{lc}" for lc in languages if isinstance(lc, str) and _LANGUAGE.fullmatch(lc)]
    names += sorted(name for name in product if re.fullmatch(rf"{field}_[a-z]{{2,3}}", str(name)))
    return next((text for name in names if (text := _text(product.get(name), limit))), None)


def _text(value: Any, limit: int) -> str | None:
    if isinstance(value, list):
        value = ", ".join(item for item in value if isinstance(item, str))
    elif isinstance(value, float):
        value = f"{value:g}"
    elif isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    return unescape(value[: 2 * limit]).strip()[:limit] or None


def _categories(product: Mapping[str, Any]) -> str | None:
    """The English names where the taxonomy has them; else what contributors typed, without its codes."""
    english = [tag[3:] for tag in _tags(product.get("categories_tags")) if tag.startswith("en:")]
    typed = (_text(product.get("categories"), _LONG) or "").split(",")
    words = [_category_words(item) for item in (english or typed)]
    return ", ".join(dict.fromkeys(word for word in words if word))[:_SHORT] or None


def _category_words(item: str) -> str:
    words = _LANGUAGE_PREFIX.sub("", item.strip())
    if " " not in words:
        words = words.replace("-", " ")
    return words[:1].upper() + words[1:]


def _image(value: Any) -> str | None:
    # It ends in a page of ours: https only, so that no scheme can be smuggled in.
    if not isinstance(value, str) or len(value) > _SHORT:
        return None
    try:
        url = urlsplit(value)
        return value if url.scheme == "https" and url.hostname else None
    except ValueError:
        return None


def _grade(product: Mapping[str, Any], *fields: str) -> str | None:
    for field in fields:
        value = product.get(field)
        if isinstance(value, str) and value.strip().lower() in _GRADES:
            return value.strip().lower()
    return None


def _nova(value: Any) -> int | None:
    if isinstance(value, str) and value.strip() in ("1", "2", "3", "4"):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value in (1, 2, 3, 4):
        return int(value)
    return None


def _tags(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    return [tag for tag in value if isinstance(tag, str) and 0 < len(tag) <= 200][:_MAX_TAGS]
