"""Places in a list and addresses to go on to, as a URL may name them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils.web import paging
from spoils.web.dashboard.shared.local_path import local_path


@given(st.datetimes(timezones=st.just(UTC)), st.uuids() | st.integers(1, 2**31 - 1))
def test_a_cursor_reads_back_as_itself(moment: datetime, key: UUID | int) -> None:
    assert paging.decode(paging.encode(moment, key), type(key)) == (moment, key)


@pytest.mark.parametrize(
    ("moment", "key", "kind"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), 7, UUID),
        (datetime(2026, 1, 1, tzinfo=UTC), uuid4(), int),
        *((datetime(2026, 1, 1, tzinfo=UTC), key, int) for key in (0, -1, 2**31)),
        (datetime(2026, 1, 1), uuid4(), UUID),  # noqa: DTZ001 - without a zone
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), uuid4(), UUID),
    ],
)
def test_a_cursor_of_another_list_or_out_of_bounds_is_refused(
    moment: datetime, key: UUID | int, kind: type[Any]
) -> None:
    with pytest.raises(paging.BadCursor):
        paging.decode(paging.encode(moment, key), kind)


def test_a_moment_of_an_odd_zone_becomes_utc_which_the_database_takes() -> None:
    odd = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59)))
    moment, _ = paging.decode(paging.encode(odd, uuid4()), UUID)
    assert (moment, moment.tzinfo) == (odd, UTC)


@given(st.text(max_size=300))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(paging.BadCursor):
        paging.decode(text, UUID)


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs?state=failed&type=a%20b", "/jobs/7#x", "/a:b"])
def test_a_path_of_this_site_is_followed(path: str) -> None:
    assert local_path(path, "/home") == path


@pytest.mark.parametrize(
    "path",
    [
        *(None, "", "jobs", "https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example"),
        *(
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "javascript:alert(1)",
            " /jobs",
            "/" + "a" * 2_000,
            "/" + "é" * 400,
        ),
        "/jobs\r\nSet-Cookie: a=b",
    ],
)
def test_every_other_address_is_refused(path: str | None) -> None:
    assert local_path(path, "/home") == "/home"
