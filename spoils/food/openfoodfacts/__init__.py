"""Open Food Facts, and its bad days sorted into those worth a retry and those that are final."""

from spoils.food.openfoodfacts.client import OpenFoodFacts
from spoils.food.openfoodfacts.errors import (
    NotABarcode,
    OpenFoodFactsError,
    ProductNotFound,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamTooLarge,
    UpstreamUnavailable,
    UpstreamUnreadable,
)
from spoils.food.openfoodfacts.product import FetchedProduct

__all__ = [
    "FetchedProduct",
    "NotABarcode",
    "OpenFoodFacts",
    "OpenFoodFactsError",
    "ProductNotFound",
    "UpstreamBusy",
    "UpstreamRefused",
    "UpstreamTooLarge",
    "UpstreamUnavailable",
    "UpstreamUnreadable",
]
