"""What an analysis says; `as_json()` is what is stored and shown."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Source = Literal["list", "text", "none"]


@dataclass(frozen=True)
class Named:
    """A tag of the taxonomy, and the words for it: `en:sesame-seeds`, "sesame seeds"."""

    tag: str
    name: str


@dataclass(frozen=True)
class Additive:
    """One additive of the product; its function is the label's where it tells, else its usual one."""

    code: str
    name: str
    function: str | None


@dataclass(frozen=True)
class Ingredient:
    """One ingredient, with what it is made of."""

    name: str
    #: Its id in the taxonomy; None where nobody recognised it.
    known_as: str | None = None
    #: Per cent of the whole product.
    share: float | None = None
    share_is_estimate: bool = False
    #: "yes", "no", "maybe", or None where the data does not tell.
    vegan: str | None = None
    vegetarian: str | None = None
    palm_oil: str | None = None
    #: The E-number, such as "E330".
    additive: str | None = None
    #: What it does in this product, such as "emulsifier"; also of a group that is only a function.
    function: str | None = None
    #: What was done to it, such as "fermented".
    processing: tuple[str, ...] = ()
    allergens: tuple[Named, ...] = ()
    children: tuple["Ingredient", ...] = ()


@dataclass(frozen=True)
class Analysis:
    """What the data of a product says of its ingredients, and what it does not say."""

    source: Source
    language: str | None
    text: str | None
    ingredients: tuple[Ingredient, ...]
    additives: tuple[Additive, ...]
    allergens: tuple[Named, ...]
    #: Those of `allergens` that the maker states: in the product's data, or in a sentence such as "contains milk".
    declared: tuple[Named, ...]
    traces: tuple[Named, ...]
    #: Named somewhere in the text, where it was not understood as either.
    mentioned: tuple[Named, ...]
    #: "yes", "no", "maybe" or "unknown".
    vegan: str
    vegetarian: str
    palm_oil: str
    unrecognised: tuple[str, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain dicts and lists."""
        return {key: _listed(value) for key, value in asdict(self).items()}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value
