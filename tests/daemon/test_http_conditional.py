"""Conditional requests and ranges, by the tables of RFC 9110."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haild.http.conditional import Part, UnsatisfiableError, date_of, parse_date, part_of, precondition

ETAG = "0123"
CHANGED = 1_700_000_000.75
DATE = date_of(CHANGED)
BEFORE, AFTER = date_of(CHANGED - 10), date_of(CHANGED + 10)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"If-None-Match": "0123"}, 304),
        ({"If-None-Match": '"0123"'}, 304),
        ({"If-None-Match": 'W/"0123"'}, 304),
        ({"If-None-Match": '"a,b", "0123"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, None),
        ({"If-None-Match": '"other"', "If-Modified-Since": AFTER}, None),
        ({"If-Modified-Since": DATE}, 304),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": BEFORE}, None),
        ({"If-Modified-Since": "yesterday"}, None),
        ({"If-Match": '"0123"'}, None),
        ({"If-Match": "0123"}, None),
        ({"If-Match": 'W/"0123"'}, 412),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": "*"}, None),
        ({"If-Match": '"0123"', "If-Unmodified-Since": BEFORE}, None),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Unmodified-Since": DATE}, None),
        ({"If-Match": '"other"', "If-None-Match": '"0123"'}, 412),
    ],
)
def test_preconditions(headers: dict[str, str], status: int | None) -> None:
    assert precondition(headers, ETAG, CHANGED) == status


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("bytes=0-99", Part(0, 100)),
        ("bytes=990-2000", Part(990, 10)),
        ("bytes=500-", Part(500, 500)),
        ("bytes=-100", Part(900, 100)),
        ("bytes=-5000", Part(0, 1000)),
        ("bytes=999-999", Part(999, 1)),
        *(
            (other, None)
            for other in ("bytes=0-1,5-6", "bytes=5-4", "bytes=-", "lines=0-1", "bytes=x-", "", "bytes=٣-")
        ),
    ],
)
def test_ranges(text: str, part: Part | None) -> None:
    assert part_of({"Range": text}, 1000, ETAG, CHANGED) == part


@pytest.mark.parametrize(
    ("text", "size"), [("bytes=1000-", 1000), ("bytes=-0", 1000), ("bytes=0-", 0), ("bytes=-1", 0)]
)
def test_ranges_after_the_end(text: str, size: int) -> None:
    with pytest.raises(UnsatisfiableError):
        part_of({"Range": text}, size, ETAG, CHANGED)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ('"0123"', True),
        ("0123", True),
        ('W/"0123"', False),
        ('"x"', False),
        (DATE, True),
        (AFTER, False),
        (BEFORE, False),
    ],
)
def test_if_range(text: str, taken: bool) -> None:
    part = part_of({"Range": "bytes=1-2", "If-Range": text}, 10, ETAG, CHANGED)
    assert part == (Part(1, 2) if taken else None)


@given(st.text(), st.integers(0, 1 << 40), st.text())
def test_any_range_is_within_the_body(text: str, size: int, condition: str) -> None:
    for header in (text, f"bytes={text}"):
        try:
            part = part_of({"Range": header, "If-Range": condition}, size, ETAG, CHANGED)
        except UnsatisfiableError:
            continue
        assert part is None or (part.length > 0 and 0 <= part.offset <= part.offset + part.length <= size)


@given(st.integers(0, 4_000_000_000))
def test_dates_come_back(seconds: int) -> None:
    assert parse_date(date_of(seconds)) == seconds


@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert parse_date(text) is None or isinstance(parse_date(text), int)
    precondition({"If-None-Match": text, "If-Match": text, "If-Modified-Since": text}, ETAG, CHANGED)
