"""The client of Open Food Facts, against a real server on loopback that has every kind of bad day."""

import gzip
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoils.errors import SettingError, SpoilsError
from spoils.food.openfoodfacts.cleaning import clean
from spoils.food.openfoodfacts.client import OpenFoodFacts
from spoils.food.openfoodfacts.errors import (
    OpenFoodFactsError,
    ProductNotFound,
    UpstreamBusy,
    UpstreamRefused,
    UpstreamTooLarge,
    UpstreamUnavailable,
    UpstreamUnreadable,
)
from spoils.food.openfoodfacts.product import read_product
from spoils.food.openfoodfacts.retry_after import retry_after_seconds
from tests import upstream as bad
from tests.upstream import Upstream

CODE = "737628064502"
AGENT = "Spoils/0.1 (tests@example.org)"
NOODLES = {
    "product_name": "Thai peanut noodle kit",
    "brands": "Simply Asia, Thai Kitchen",
    "categories": "Nouilles",
    "categories_tags": ["en:meals", "en:rice-noodles", "fr:plat"],
    "quantity": "155 g",
    "image_url": "https://images.example.org/1.jpg",
    "nutriscore_grade": "D",
    "nova_group": 4,
    "ecoscore_grade": "not-applicable",
    "environmental_score_grade": "b",
    "ingredients_text": "rice, water",
    "allergens_tags": ["en:peanuts"],
}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        server.products[CODE] = NOODLES
        yield server


def client(upstream: Upstream, **options: Any) -> OpenFoodFacts:
    return OpenFoodFacts(base_url=upstream.url, user_agent=AGENT, **options)


def test_a_product_is_asked_for_by_its_barcode_and_kept_with_its_fields(upstream: Upstream) -> None:
    got = client(upstream).fetch(CODE)
    kept = {name: value for name, value in vars(got).items() if name != "document"}
    assert kept == {
        "barcode": "0737628064502", "name": "Thai peanut noodle kit", "brands": "Simply Asia, Thai Kitchen",
        "categories": "Meals, Rice noodles", "quantity": "155 g", "image_url": "https://images.example.org/1.jpg",
        "nutriscore": "d", "nova_group": 4, "ecoscore": "b", "ingredients_text": "rice, water",
        "allergens": ["en:peanuts"],
    }  # fmt: skip
    assert got.document["product"] == NOODLES
    [request] = upstream.requests
    assert (request.path, request.headers["User-Agent"]) == (f"/api/v2/product/{CODE}", AGENT)


def test_neither_proxy_nor_netrc_of_the_environment_is_used(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    client(upstream).fetch(CODE)
    assert "Authorization" not in upstream.requests[0].headers


@pytest.mark.parametrize(
    "behaviour",
    [
        bad.not_found(),
        bad.status(404, body=b"<html>nothing here</html>"),
        bad.ok({"status": 0, "status_verbose": "product not found"}),
        bad.ok({"status": 0, "product": {}}),
    ],
)
def test_an_unknown_product_is_a_final_not_found(upstream: Upstream, behaviour: bad.Behaviour) -> None:
    upstream.script("12345678", behaviour)
    with pytest.raises(ProductNotFound, match="no product with the barcode 12345678") as error:
        client(upstream).fetch("12345678")
    assert error.value.final


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(("header", "seconds"), [("2", 2.0), ("86400", 3600.0), (None, None), ("soon", None)])
def test_a_busy_upstream_tells_how_long_to_wait(
    upstream: Upstream, code: int, header: str | None, seconds: float | None
) -> None:
    upstream.script(CODE, bad.status(code, retry_after=header))
    with pytest.raises(UpstreamBusy) as error:
        client(upstream).fetch(CODE)
    assert error.value.retry_after == seconds
    assert not error.value.final


def test_a_date_to_come_back_is_measured_from_the_date_of_the_answer(upstream: Upstream) -> None:
    # The upstream's clock is years from ours; the two minutes between its two dates are what counts.
    upstream.script(
        CODE,
        bad.status(503, retry_after="Wed, 21 Oct 2015 07:30:00 GMT", Date="Wed, 21 Oct 2015 07:28:00 GMT"),
    )
    with pytest.raises(UpstreamBusy) as error:
        client(upstream).fetch(CODE)
    assert error.value.retry_after == 120.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0), ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 3600.0), ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("1.5", 1.5), ("0", 0.0), ("9" * 5000, 3600.0), ("-5", None), ("٣", None), ("nan", None), ("", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_spellings_and_clamped_to_an_hour(
    value: str, seconds: float | None
) -> None:
    now = datetime(2015, 10, 21, 7, 28, tzinfo=UTC)
    assert retry_after_seconds(value, now=now) == seconds


@settings(deadline=2000)
@given(st.text(max_size=60))
def test_retry_after_never_raises(text: str) -> None:
    seconds = retry_after_seconds(text, date=text)
    assert seconds is None or 0 <= seconds <= 3600


def test_a_server_that_sends_nothing_is_worth_a_retry(upstream: Upstream) -> None:
    upstream.script(CODE, bad.hang())
    with pytest.raises(UpstreamUnavailable, match=r"sent nothing for 0\.2 s") as error:
        client(upstream, timeout_seconds=0.2).fetch(CODE)
    assert not error.value.final


def test_a_tls_handshake_that_never_ends_is_worth_a_retry() -> None:
    # A plain listener that takes the connection and says nothing plays the other end of the handshake.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        silent = OpenFoodFacts(base_url=f"https://127.0.0.1:{port}", user_agent=AGENT, timeout_seconds=0.2)
        with pytest.raises(UpstreamUnavailable, match="sent nothing"):
            silent.fetch(CODE)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://nowhere.invalid", r"nowhere\.invalid"),
        ("http://127.0.0.1:{closed}", "refused the connection"),
        ("https://127.0.0.1:{plain}", r"No secure connection to 127\.0\.0\.1"),
    ],
)
def test_a_server_that_cannot_be_reached_is_worth_a_retry(
    upstream: Upstream, address: str, told: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    url = address.format(closed=closed, plain=upstream.url.rsplit(":", 1)[1])
    with pytest.raises(UpstreamUnavailable, match=told) as error:
        OpenFoodFacts(base_url=url, user_agent=AGENT).fetch(CODE)
    assert not error.value.final


@pytest.mark.parametrize("code", [500, 502, 504, 599, 400, 401, 403, 410, 418, 451, 304])
def test_server_errors_are_worth_a_retry_and_other_refusals_are_final(upstream: Upstream, code: int) -> None:
    upstream.script(CODE, bad.status(code))
    with pytest.raises(UpstreamUnavailable if code >= 500 else UpstreamRefused, match=str(code)) as error:
        client(upstream).fetch(CODE)
    assert error.value.final == (code < 500)


@pytest.mark.parametrize("behaviour", [bad.reset(), bad.truncated()])
def test_a_broken_connection_is_worth_a_retry(upstream: Upstream, behaviour: bad.Behaviour) -> None:
    upstream.script(CODE, behaviour)
    with pytest.raises(UpstreamUnavailable, match="broke before the answer was complete") as error:
        client(upstream).fetch(CODE)
    assert not error.value.final
    assert client(upstream).fetch(CODE).name == NOODLES["product_name"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n{}",
    ],
)
def test_broken_http_is_an_error_of_ours_and_worth_a_retry(upstream: Upstream, answer: bytes) -> None:
    upstream.script(CODE, bad.wire(answer))
    with pytest.raises((UpstreamUnavailable, UpstreamUnreadable)) as error:
        client(upstream).fetch(CODE)
    assert not error.value.final


@pytest.mark.parametrize("behaviour", [bad.big(), bad.gzip_bomb()])
def test_a_body_over_the_limit_is_refused_for_good(upstream: Upstream, behaviour: bad.Behaviour) -> None:
    upstream.script(CODE, behaviour)
    with pytest.raises(UpstreamTooLarge, match="2,097,152") as error:
        client(upstream).fetch(CODE)
    assert error.value.final


def test_the_limit_is_on_unpacked_bytes_to_the_byte(upstream: Upstream) -> None:
    body = b'{"product": {"product_name": "x"}}'
    upstream.script(CODE, bad.raw(body), bad.raw(body + b" "))
    assert client(upstream, max_bytes=len(body)).fetch(CODE).name == "x"
    with pytest.raises(UpstreamTooLarge):
        client(upstream, max_bytes=len(body)).fetch(CODE)


def test_a_packed_body_is_unpacked(upstream: Upstream) -> None:
    body = gzip.compress(b'{"product": {"product_name": "packed"}}')
    upstream.script(CODE, bad.raw(body, Content_Encoding="gzip"))
    assert client(upstream).fetch(CODE).name == "packed"


def test_a_redirect_on_the_same_host_is_followed(upstream: Upstream) -> None:
    upstream.products["12345678"] = {"product_name": "moved here"}
    upstream.script(CODE, bad.redirect("/api/v2/product/12345678", 301))
    assert client(upstream).fetch(CODE).name == "moved here"


def test_a_redirect_keeps_the_name_and_password_of_the_address_that_was_configured(
    upstream: Upstream,
) -> None:
    upstream.script(CODE, bad.redirect())
    address = upstream.url.replace("http://", "http://off:off@")
    assert OpenFoodFacts(base_url=address, user_agent=AGENT).fetch(CODE).name == NOODLES["product_name"]
    assert [request.headers["Authorization"] for request in upstream.requests] == ["Basic b2ZmOm9mZg=="] * 2


def test_three_redirects_are_followed_and_a_fourth_is_refused(upstream: Upstream) -> None:
    upstream.script(CODE, *[bad.redirect()] * 3)
    assert client(upstream).fetch(CODE).name == NOODLES["product_name"]
    upstream.always(CODE, bad.redirect())
    upstream.requests.clear()
    with pytest.raises(UpstreamRefused, match="more than 3 times") as error:
        client(upstream).fetch(CODE)
    assert error.value.final
    assert len(upstream.requests) == 4


def test_a_redirect_off_the_host_is_not_followed(upstream: Upstream) -> None:
    with Upstream() as other:
        other.products[CODE] = NOODLES
        port = upstream.url.rsplit(":", 1)[1]
        places = [
            f"{other.url}/api/v2/product/{CODE}",
            f"//{other.url.removeprefix('http://')}/api/v2/product/{CODE}",
            f"https://127.0.0.1:{port}/",
            f"http://localhost:{port}/api/v2/product/{CODE}",
            f"http://someone@127.0.0.1:{port}/api/v2/product/{CODE}",
        ]
        for place in places:
            upstream.script(CODE, bad.redirect(place))
            with pytest.raises(UpstreamRefused, match="another host") as error:
                client(upstream).fetch(CODE)
            assert error.value.final
        assert other.requests == []
        assert len(upstream.requests) == len(places)


@pytest.mark.parametrize(
    "place", ["http://[", "file:///etc/passwd", "http://127.0.0.1:99999/", "javascript:1"]
)
def test_a_redirect_to_nonsense_is_refused(upstream: Upstream, place: str) -> None:
    upstream.script(CODE, bad.redirect(place))
    with pytest.raises(UpstreamRefused, match="cannot be read"):
        client(upstream).fetch(CODE)


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (bad.html(), "not valid JSON"),
        (bad.raw(b""), "not valid JSON"),
        (bad.raw(b'{"status": 1, "product": {"product_name": "cut'), "not valid JSON"),
        (bad.raw(b'{"status": 1, "product": {"x": NaN}}'), "not valid JSON"),
        (bad.raw(b'{"status": 1, "product": {"x": ' + b"9" * 5000 + b"}}"), "not valid JSON"),
        (bad.raw(b"[" * 500_000), "nested too deep"),
        (bad.raw(b'{"status":1,"product":{"x":' + b"[" * 80 + b"]" * 80 + b"}}"), "nested too deep"),
        (bad.raw(b'{"status": 1, "product": {"product_name": "\xff\xfe"}}'), "not UTF-8"),
        (bad.ok([1, 2, 3]), "not a JSON object"),
        (bad.ok("product"), "not a JSON object"),
        (bad.ok(None), "not a JSON object"),
        (bad.ok({"status": 1}), "without a product"),
        (bad.ok({"status": 1, "product": []}), "without a product"),
        (bad.ok({"status": 1, "product": {}}), "without a product"),
        (bad.ok({}), "without a product"),
        (bad.status(204, body=b""), "status 204"),
        (bad.raw(b"not gzip at all", Content_Encoding="gzip"), "cannot be unpacked"),
        (bad.raw(b"{}", Content_Encoding="br"), "cannot be unpacked"),
    ],
)
def test_an_answer_that_is_no_product_is_unreadable_and_tried_again(
    upstream: Upstream, behaviour: bad.Behaviour, told: str
) -> None:
    upstream.script(CODE, behaviour)
    with pytest.raises(UpstreamUnreadable, match=told) as error:
        client(upstream).fetch(CODE)
    assert not error.value.final


def test_a_charset_of_nonsense_does_not_matter(upstream: Upstream) -> None:
    body = b"\xef\xbb\xbf" + '{"product": {"product_name": "né"}}'.encode()
    upstream.script(CODE, bad.raw(body, "application/json; charset=klingon"))
    assert client(upstream).fetch(CODE).name == "né"


def test_what_postgresql_cannot_store_is_replaced_at_every_depth(upstream: Upstream) -> None:
    body = b'{"status":1,"product":{"product_name":"a\\u0000b\\ud800c","k\\u0000":[{"x":"\\udfff"}],"big":1e999}}'
    upstream.script(CODE, bad.raw(body))
    got = client(upstream).fetch(CODE)
    assert got.name == "a\ufffdb\ufffdc"
    assert got.document["product"] == {
        "product_name": "a\ufffdb\ufffdc",
        "k\ufffd": [{"x": "\ufffd"}],
        "big": None,
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
FIELDS = [
    "product_name", "product_name_fr", "lc", "lang", "generic_name", "brands", "categories", "categories_tags",
    "quantity", "image_url", "image_front_url", "nutriscore_grade", "nova_group", "ecoscore_grade",
    "ingredients_text", "allergens_tags",
]  # fmt: skip


@settings(deadline=2000)
@given(JSON)
def test_whatever_is_cleaned_can_be_stored(value: Any) -> None:
    text = json.dumps(clean(value), ensure_ascii=False, allow_nan=False)
    assert "\\u0000" not in text
    text.encode()


@settings(deadline=2000)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON | st.integers(10**400, 10**401)))
def test_fields_of_any_type_never_raise_and_stay_short(fields: dict[str, Any]) -> None:
    got = read_product("12345678", {"product": fields})
    for text in (got.name, got.brands, got.categories, got.quantity, got.image_url):
        assert text is None or (isinstance(text, str) and 0 < len(text) <= 1000)
    assert got.nova_group in (None, 1, 2, 3, 4)
    assert got.nutriscore in (None, *"abcde")
    assert all(isinstance(tag, str) for tag in got.allergens)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"product_name": " Pain &amp; sel "}, "Pain & sel"),
        ({"product_name": "", "lc": "fr", "product_name_fr": "Pain"}, "Pain"),
        ({"product_name": None, "product_name_en": "Bread"}, "Bread"),
        ({"generic_name": "Loaf"}, "Loaf"),
        ({"product_name": 42}, "42"),
        ({"product_name": ["a", 1, "b"]}, "a, b"),
        ({"product_name": {"en": "x"}, "lc": ["fr"]}, None),
        ({"product_name": "n" * 5000}, "n" * 1000),
    ],
)
def test_the_name_is_the_first_one_that_says_something(fields: dict[str, Any], name: str | None) -> None:
    assert read_product("12345678", {"product": fields}).name == name


@pytest.mark.parametrize(
    "url", ["http://images.example.org/1.jpg", "javascript:alert(1)", "https:///x", "https://[", 7, ""]
)
def test_an_image_that_is_not_https_is_left_out(url: Any) -> None:
    assert read_product("12345678", {"product": {"image_front_url": url}}).image_url is None


def test_typed_categories_are_shown_without_their_codes() -> None:
    fields = {"categories": "Boissons,fr:boissons-gazeuses, en:boissons-gazeuses"}
    assert read_product("12345678", {"product": fields}).categories == "Boissons, Boissons gazeuses"


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "world.openfoodfacts.org", "https://", "http://h:99999", "https://h?x=1"]
)
def test_a_wrong_address_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingError):
        OpenFoodFacts(base_url=url, user_agent=AGENT)


def test_no_message_tells_the_address_in_full() -> None:
    secret = OpenFoodFacts(base_url="http://user:s3cret@nowhere.invalid", user_agent=AGENT)
    with pytest.raises(OpenFoodFactsError) as error:
        secret.fetch(CODE)
    assert isinstance(error.value, SpoilsError)
    assert "s3cret" not in str(error.value)
