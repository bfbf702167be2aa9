"""Fetch one product, and name every way in which that can fail."""

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

MAX_REDIRECTS = 3
MAX_BYTES = 2 * 1024 * 1024
_CHUNK_BYTES = 16 * 1024
_REDIRECTS = {301, 302, 303, 307, 308}
_READABLE_ENCODINGS = {"", "identity", "gzip", "x-gzip"}


class OpenFoodFacts:
    """The product API of Open Food Facts; safe to share between threads.

    `timeout_seconds` bounds each wait for the server, not the whole fetch: a server that sends a byte a second never
    meets it. The caller bounds the whole, as FetchProductJob does by its `timeout`.
    """

    def __init__(
        self, *, base_url: str, user_agent: str, timeout_seconds: float = 10.0, max_bytes: int = MAX_BYTES
    ) -> None:
        """Take the service's address, and the User-Agent that names the app and a contact.

        Raises SettingError where the address is none.
        """
        base = _split(base_url.rstrip("/"))
        if base is None or base.query or base.fragment:
            raise SettingError(
                "The address of Open Food Facts must look like https://world.openfoodfacts.org."
            )
        self._base = base
        self._base_url = base_url.rstrip("/")
        self._user_agent = user_agent
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes

    def fetch(self, barcode: str) -> FetchedProduct:
        """Fetch one product, or raise an OpenFoodFactsError that says what to do next."""
        if not is_barcode(barcode):
            raise NotABarcode
        document = _document(self._get(f"{self._base_url}/api/v2/product/{barcode}", barcode))
        # An older server says 200 and status 0 for what is now a 404.
        if document.get("status") in (0, "0"):
            raise _not_found(barcode)
        product = document.get("product")
        if not isinstance(product, dict) or not product:
            raise UpstreamUnreadable("Open Food Facts answered without a product.")
        return read_product(normalise(barcode), document)

    def _get(self, url: str, barcode: str) -> bytes:
        """The body of the product's answer, redirects on the same host followed."""
        try:
            with _Session() as session:
                session.headers.update({"User-Agent": self._user_agent})
                for _ in range(MAX_REDIRECTS + 1):
                    with session.get(
                        url, stream=True, allow_redirects=False, timeout=self._timeout_seconds
                    ) as response:
                        if response.status_code not in _REDIRECTS:
                            _refuse_bad_status(response, barcode)
                            return self._read(response)
                        url = self._target(url, response.headers.get("Location", ""))
        except requests.exceptions.ContentDecodingError as exc:
            raise UpstreamUnreadable("The answer of Open Food Facts cannot be unpacked.") from exc
        except (requests.RequestException, HTTPError, OSError) as exc:
            raise UpstreamUnavailable(self._what_broke(exc)) from exc
        raise UpstreamRefused(f"Open Food Facts redirected more than {MAX_REDIRECTS} times.")

    def _read(self, response: requests.Response) -> bytes:
        if response.headers.get("Content-Encoding", "").strip().lower() not in _READABLE_ENCODINGS:
            raise UpstreamUnreadable("The answer of Open Food Facts cannot be unpacked.")
        body = bytearray()
        # The count is of unpacked bytes, and stops at the first chunk too many: a gzip bomb stays packed.
        for chunk in response.iter_content(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_bytes:
                raise UpstreamTooLarge(
                    f"The answer of Open Food Facts is larger than {self._max_bytes:,} bytes."
                )
        return bytes(body)

    def _target(self, url: str, location: str) -> str:
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

    def _what_broke(self, exc: BaseException) -> str:
        host = self._base.hostname
        if _caused_by(exc, socket.gaierror):
            return f"The name {host} could not be looked up."
        if isinstance(exc, requests.exceptions.SSLError):
            return f"No secure connection to {host} could be made."
        if _caused_by(exc, ConnectionRefusedError):
            return f"{host} refused the connection."
        if isinstance(exc, requests.exceptions.Timeout) or _caused_by(exc, TimeoutError):
            return f"{host} sent nothing for {self._timeout_seconds:g} s."
        return f"The connection to {host} broke before the answer was complete."


class _Session(requests.Session):
    """Takes nothing from the environment, and reads no body but one that it was asked to read."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # no proxy, no netrc
        # One answer a connection, and no packing but the one whose unpacking is bounded.
        self.headers.update({"Accept": "application/json", "Accept-Encoding": "gzip", "Connection": "close"})

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - the base class's signature
        # Even with allow_redirects=False, requests reads the whole body of a redirect and parses where it leads.
        return None


def _refuse_bad_status(response: requests.Response, barcode: str) -> None:
    match response.status_code:
        case 200:
            return
        case 404:
            raise _not_found(barcode)
        case 429 | 503 as status:
            headers = response.headers
            seconds = retry_after_seconds(headers.get("Retry-After"), date=headers.get("Date"))
            wait = "" if seconds is None else f" and asks us to wait {seconds:g} s"
            raise UpstreamBusy(f"Open Food Facts is busy ({status}){wait}.", retry_after=seconds)
        case status if status >= 500:
            raise UpstreamUnavailable(f"Open Food Facts failed with status {status}.")
        case status if status < 300:
            raise UpstreamUnreadable(f"Open Food Facts answered with status {status} and no product.")
        case status:
            raise UpstreamRefused(f"Open Food Facts refused the request with status {status}.")


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
