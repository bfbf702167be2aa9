"""Fetch one product, and give every way it can go wrong its name."""

import socket
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from spoils.errors import SettingError
from spoils.food.barcode import is_barcode, normalise
from spoils.food.openfoodfacts.cleaning import read_json
from spoils.food.openfoodfacts.errors import (
    NotABarcode,
    ProductNotFound,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamTooLarge,
    UpstreamUnavailable,
    UpstreamUnreadable,
)
from spoils.food.openfoodfacts.product import FetchedProduct, read_product
from spoils.food.openfoodfacts.retry_after import retry_after_seconds
from spoils.food.openfoodfacts.transport import (
    Answer,
    BodyTooLarge,
    BodyUnreadable,
    BoundedSession,
    OutOfTime,
)

MAX_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}


class OpenFoodFacts:
    """The product API of Open Food Facts; safe to share between threads."""

    def __init__(
        self,
        *,
        base_url: str,
        user_agent: str,
        deadline_seconds: float = 15.0,
        max_bytes: int = 2 * 1024 * 1024,
    ) -> None:
        """Take the service's address, and the User-Agent that names the app and a contact."""
        base = _split(base_url.rstrip("/"))
        if base is None or base.query or base.fragment:
            raise SettingError(
                "The address of Open Food Facts must look like https://world.openfoodfacts.org."
            )
        self._base = base
        self._base_url = base_url.rstrip("/")
        self._user_agent = user_agent
        self._deadline_seconds = deadline_seconds
        self._max_bytes = max_bytes

    def fetch(self, barcode: str) -> FetchedProduct:
        """Fetch one product within the deadline, or raise an OpenFoodFactsError that says what to do next."""
        if not is_barcode(barcode):
            raise NotABarcode
        answer = self._get(f"{self._base_url}/api/v2/product/{barcode}")
        self._refuse_bad_status(answer, barcode)
        document = _document(answer.body)
        # An older server says 200 and status 0 for what is now a 404.
        if document.get("status") in (0, "0"):
            raise _not_found(barcode)
        product = document.get("product")
        if not isinstance(product, dict) or not product:
            raise UpstreamUnreadable("Open Food Facts answered without a product.")
        return read_product(normalise(barcode), document)

    def _get(self, url: str) -> Answer:
        headers = {"User-Agent": self._user_agent, "Accept": "application/json"}
        try:
            with BoundedSession(
                headers=headers, deadline_seconds=self._deadline_seconds, max_bytes=self._max_bytes
            ) as session:
                answer = session.get(url)
                for _ in range(MAX_REDIRECTS):
                    if answer.status not in _REDIRECTS:
                        return answer
                    url = self._target(url, answer)
                    answer = session.get(url)
        except OutOfTime as exc:
            raise UpstreamUnavailable(
                f"Open Food Facts did not answer completely within {self._deadline_seconds:g} s."
            ) from exc
        except BodyTooLarge as exc:
            raise UpstreamTooLarge(
                f"The answer of Open Food Facts is larger than {self._max_bytes:,} bytes."
            ) from exc
        except (BodyUnreadable, requests.exceptions.ContentDecodingError) as exc:
            raise UpstreamUnreadable("The answer of Open Food Facts cannot be unpacked.") from exc
        except (requests.RequestException, HTTPError, OSError) as exc:
            raise UpstreamUnavailable(self._what_broke(exc)) from exc
        if answer.status in _REDIRECTS:
            raise UpstreamRefused(f"Open Food Facts redirected more than {MAX_REDIRECTS} times.")
        return answer

    def _target(self, url: str, answer: Answer) -> str:
        location = answer.headers.get("Location", "")
        try:
            target = urljoin(url, location)
        except ValueError:
            target = ""
        split = _split(target)
        if not location or split is None:
            raise UpstreamRefused("Open Food Facts redirected to an address that cannot be read.")
        if _origin(split) != _origin(self._base) or split.username not in (None, self._base.username):
            raise UpstreamRefused("Open Food Facts redirected to another host, which is not followed.")
        return target

    def _refuse_bad_status(self, answer: Answer, barcode: str) -> None:
        match answer.status:
            case 200:
                return
            case 404:
                raise _not_found(barcode)
            case 429 | 503:
                seconds = retry_after_seconds(
                    answer.headers.get("Retry-After"), date=answer.headers.get("Date")
                )
                wait = "" if seconds is None else f" and asks us to wait {seconds:g} s"
                raise UpstreamBusy(f"Open Food Facts is busy ({answer.status}){wait}.", retry_after=seconds)
            case status if status >= 500:
                raise UpstreamUnavailable(f"Open Food Facts failed with status {status}.")
            case status if status < 300:
                raise UpstreamUnreadable(f"Open Food Facts answered with status {status} and no product.")
            case status:
                raise UpstreamRefused(f"Open Food Facts refused the request with status {status}.")

    def _what_broke(self, exc: BaseException) -> str:
        host = self._base.hostname
        if _caused_by(exc, socket.gaierror):
            return f"The name {host} could not be looked up."
        if isinstance(exc, requests.exceptions.SSLError):
            return f"No secure connection to {host} could be made."
        if _caused_by(exc, ConnectionRefusedError):
            return f"{host} refused the connection."
        return f"The connection to {host} broke before the answer was complete."


def _not_found(barcode: str) -> ProductNotFound:
    return ProductNotFound(f"Open Food Facts knows no product with the barcode {barcode}.")


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = read_json(body)
    except ValueError as exc:
        raise UpstreamUnreadable(f"The answer of Open Food Facts cannot be read: {exc}.") from exc
    if not isinstance(document, dict):
        raise UpstreamUnreadable("The answer of Open Food Facts cannot be read: it is not a JSON object.")
    return document


def _split(url: str) -> SplitResult | None:
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        return None
    return split if split.scheme in ("http", "https") and split.hostname and port != 0 else None


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80)


def _caused_by(exc: BaseException | None, kind: type[BaseException]) -> bool:
    while exc is not None:
        if isinstance(exc, kind):
            return True
        exc = exc.__cause__ or exc.__context__
    return False
