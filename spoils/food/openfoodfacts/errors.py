"""How a fetch from Open Food Facts can end badly, and whether to try again."""

from typing import ClassVar

from spoils.errors import SpoilsError


class OpenFoodFactsError(SpoilsError):
    """Open Food Facts gave no product."""

    #: True where asking again would bring the same answer.
    final: ClassVar[bool] = False


class NotABarcode(OpenFoodFactsError, ValueError):
    """A barcode has 8 to 14 digits and nothing else."""

    final = True


class ProductNotFound(OpenFoodFactsError):
    """Open Food Facts does not know this product."""

    final = True


class UpstreamBusy(OpenFoodFactsError):
    """Open Food Facts is busy and asks us to come back later."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        """Keep how many seconds upstream asked us to wait, if it said so."""
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamUnavailable(OpenFoodFactsError):
    """Open Food Facts cannot be reached."""


class UpstreamRefused(OpenFoodFactsError):
    """Open Food Facts refused the request."""

    final = True


class UpstreamUnreadable(OpenFoodFactsError):
    """Open Food Facts answered with something that is not a product."""

    # A maintenance page or a cut answer looks like this, and passes; so it is tried again.


class UpstreamTooLarge(UpstreamUnreadable):
    """The answer of Open Food Facts is too large."""

    final = True
