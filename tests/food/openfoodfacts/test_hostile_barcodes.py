"""Hostile barcodes: none reaches another host or path, whichever way it comes in.

A few thousand by default; SPOILS_HOSTILE_BARCODES=100000 tries as many.
"""

import json
import os
import random
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from spoils.errors import PayloadError
from spoils.food.openfoodfacts.client import OpenFoodFacts
from spoils.food.openfoodfacts.errors import OpenFoodFactsError
from spoils.jobs.fetch_product import FetchProductJob
from spoils.web.hit_counter import RateLimit

NUMBER = int(os.environ.get("SPOILS_HOSTILE_BARCODES", "3000"))
PATH = re.compile(r"/api/v2/product/[0-9]{8,14}")
PIECES = (
    '/', '//', '../', '..\\', '%2e%2e%2f', '%2F', '\\', '@evil.example', '//evil.example/', '#', '?',
    '?fields=', ';', '&', ':80', ' ', '\t', '\n', '\r\n', '\r\nHost: evil.example\r\n', '\x00', '%00',
    '%0a', '\x7f', '\x85', '\u2028', '\u202e', '\ufeff', '٣', '۴', '²', '①', '７', '𝟘', '．', '｡', 'ß', 'é',
    '😀', '-', '+', 'e9', '0x', '.5', '_', "'", '"', '<script>', '${7}', '{{7}}', '`id`', '$(id)', '|',
    '[::1]', 'localhost', '127.0.0.1', 'http://evil.example/',
)  # fmt: skip


def hostile(seed: int) -> Iterator[str]:
    """Barcodes with pieces that mean something to a URL, a header, a shell or Unicode; some are well."""
    chance = random.Random(seed)
    while True:
        text = "".join(chance.choices("0123456789", k=chance.choice((0, 1, 7, 8, 11, 13, 14, 15, 40))))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 5))):
            at = chance.randint(0, len(text))
            text = text[:at] + chance.choice(PIECES) + text[at:]
        yield text


@pytest.fixture
def heard() -> Iterator[tuple[str, list[tuple[str | None, str]]]]:
    """The address of a server that knows no product, and the host and path of all that it was asked for."""
    asked: list[tuple[str | None, str]] = []

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.headers["Host"], self.path))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_the_client_asks_for_products_of_its_host_alone(
    heard: tuple[str, list[tuple[str | None, str]]],
) -> None:
    host, asked = heard
    upstream = OpenFoodFacts(base_url=f"http://{host}", user_agent="tests")
    codes = hostile(1)
    well, most_asked = 0, 300  # each one that is well is a connection
    for _ in range(NUMBER):
        code = next(codes)
        is_well = re.fullmatch(r"[0-9]{8,14}", code, re.ASCII) is not None and code[-1] != "\n"
        well += is_well
        if is_well and well > most_asked:
            continue
        with pytest.raises(OpenFoodFactsError):
            upstream.fetch(code)
    assert len(asked) == min(well, most_asked) > 10
    for told, path in asked:
        assert told == host
        assert PATH.fullmatch(path), path


def test_neither_job_nor_address_takes_any_other(client: FlaskClient) -> None:
    codes = hostile(2)
    taken = 0
    for number in range(NUMBER):
        code = next(codes)
        is_well = re.fullmatch(r"[0-9]{8,14}", code) is not None and code.isascii()
        try:
            FetchProductJob.from_wire(json.dumps({"barcode": code}))
            taken += 1
            assert is_well, code
        except PayloadError:
            assert not is_well, code
        if number % 20 == 0 and not is_well:
            client.application.extensions["spoils_rate_limit"] = RateLimit(1, 1)
            status = client.get(f"/api/products/{quote(code, safe='')}").status_code
            assert status in (400, 404, 405), (code, status)
    assert taken > 10
