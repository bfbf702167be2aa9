"""fang's wire form: the hash that Rust computes of the same payload, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoils.errors import PayloadError
from spoils.job.wire import canonical, uniq_hash

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_characters="\0", codec="utf-8"))
)
PAYLOADS = st.dictionaries(
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5),
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


def buried(leaf: object) -> list[Any]:
    """`leaf` at several depths."""
    return [leaf, [leaf], {"a": {"b": [1, [leaf]]}}, [[{"a": "b"}, {"c": [[[leaf]]]}]], ("x", (leaf,))]


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [reversed_keys(item) for item in value]
    return value


@pytest.mark.parametrize(
    ("payload", "digest"),
    [
        (
            {"type": "AsyncUniqTask", "number": 1},
            "f5ed6eafe862efc6bb216f9e2f8d42031398cb94c61775321f5117440d610044",
        ),
        (
            {"type": "FetchProduct", "barcode": "3017620422003"},
            "63c636ed7401ef56e520966c3e5e5575bc1369358dc697ee785a16974f1f06b1",
        ),
        ({"type": "Nightly"}, "76fb463d5fb5458aa7d52fc75f71f4bd6395555636f0ca32c6491a3bb517dd89"),
    ],
)
def test_the_hash_is_the_one_that_rust_computes(payload: dict[str, object], digest: str) -> None:
    assert uniq_hash(payload) == digest


def test_the_text_is_compact_with_keys_sorted_at_every_level_and_umlauts_as_they_are() -> None:
    assert (
        canonical({"b": {"z": 1, "a": [True, None]}, "a": "Süß"}) == '{"a":"Süß","b":{"a":[true,null],"z":1}}'
    )


@settings(max_examples=60, deadline=None)
@given(PAYLOADS)
def test_the_order_of_keys_does_not_matter(payload: dict[str, Any]) -> None:
    assert uniq_hash(reversed_keys(payload)) == uniq_hash(payload)
    assert json.loads(canonical(payload)) == payload


@settings(max_examples=60, deadline=None)
@given(PAYLOADS, PAYLOADS)
def test_payloads_that_differ_have_hashes_that_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    # As JSON, since 1 and True are equal in Python.
    assert (uniq_hash(one) == uniq_hash(other)) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


@pytest.mark.parametrize("place", buried(1.5))
@pytest.mark.parametrize("number", [1.5, 1.0, -0.0])
def test_a_float_is_refused_in_a_unique_payload_at_any_depth(place: Any, number: float) -> None:
    payload = json.loads(json.dumps({"field": place}).replace("1.5", str(number)))
    with pytest.raises(PayloadError, match="may not hold a float"):
        uniq_hash(payload)
    assert str(number) in canonical(payload)  # what is not unique may hold it


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_has_no_number_for_is_refused(number: float) -> None:
    for place in buried(number):
        with pytest.raises(PayloadError, match="NaN, infinity"):
            canonical({"field": place})


def test_an_integer_that_python_does_not_write_is_refused() -> None:
    with pytest.raises(PayloadError, match="thousands of digits"):
        canonical({"field": 10**5000})


def test_what_json_has_no_form_for_is_refused() -> None:
    with pytest.raises(PayloadError, match="has no JSON form: Object of type set is not JSON serializable"):
        canonical({"field": {1}})


def test_nul_and_half_characters_are_refused_at_any_depth_as_values_and_as_keys() -> None:
    for place in buried("a\0b"):
        with pytest.raises(PayloadError, match="NUL"):
            canonical({"field": place})
    for place in buried("a\ud800b"):
        with pytest.raises(PayloadError, match="lone surrogate"):
            canonical({"field": place})
    with pytest.raises(PayloadError, match="NUL"):
        canonical({"field": [{"a\0": 1}]})
    with pytest.raises(PayloadError, match="lone surrogate"):
        canonical({"\udfff": 1})


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert json.loads(canonical({"path": "C:\\u0000"})) == {"path": "C:\\u0000"}
