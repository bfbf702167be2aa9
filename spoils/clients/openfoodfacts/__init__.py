"""Open Food Facts, and its bad days sorted into those worth a retry and those that are final."""

from spoils.clients.openfoodfacts.client import OpenFoodFacts
from spoils.clients.openfoodfacts.errors import (
    NotABarcode,
    OpenFoodFactsError,
    ProductNotFound,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamTooLarge,
    UpstreamUnavailable,
    UpstreamUnreadable,
)
from spoils.clients.openfoodfacts.product import FetchedProduct

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
