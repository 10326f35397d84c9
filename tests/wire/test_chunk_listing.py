"""The XML of LIST against chunkd.md section 6.8, to the byte."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.chunk import listing as chunklist
from haild.wire.chunk.listing import ListedObject, ListingParser

WORKED = ListedObject(
    name=b"deadbeef",
    mtime=1262304000,
    sha1=bytes.fromhex("d74d46f66004bbb51b4152e83a53461ba9c76394"),
    size=14,
    owner=b"testuser",
)
WORKED_TEXT = chunklist.HEAD + chunklist.entry(WORKED) + chunklist.TAIL


def test_the_worked_listing() -> None:
    assert len(WORKED_TEXT) == 378
    assert hashlib.sha1(WORKED_TEXT, usedforsecurity=False).hexdigest() == "630f01eb7a04e0fc872bc00879a53f0e33c1d53a"
    assert len(chunklist.HEAD + chunklist.TAIL) == 147


@pytest.mark.parametrize("step", [1, 13, 1000])
def test_a_listing_is_read_in_pieces_of_any_size(step: int) -> None:
    parser = ListingParser()
    found = []
    for start in range(0, len(WORKED_TEXT), step):
        found += parser.receive(WORKED_TEXT[start : start + step])
    assert found == [WORKED]


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        (b"plain key-1.2/3", b"plain key-1.2/3"),
        (b"<&>'\"", b"&lt;&amp;&gt;&apos;&quot;"),
        (b"\x01\x08\x0b\x0c\x0e\x1f", b"&#x1;&#x8;&#xb;&#xc;&#xe;&#x1f;"),
        (b"\t\n\r", b"\t\n\r"),
        ("\x7f\x84\x85\x86\x9f\xa0".encode(), "&#x7f;&#x84;\x85&#x86;&#x9f;\xa0".encode()),
        ("Schlüssel".encode(), "Schlüssel".encode()),
        (b"\xff\xfe<", b"\xff\xfe&lt;"),
    ],
)
def test_escapes(plain: bytes, escaped: bytes) -> None:
    assert chunklist.escape(plain) == escaped
    assert chunklist.unescape(escaped) == plain


def test_unknown_references_stay() -> None:
    assert chunklist.unescape(b"&nbsp;&#xd800;&#x110000;&#65;") == b"&nbsp;&#xd800;&#x110000;A"


def test_order_and_white_space_do_not_matter_and_nameless_entries_are_skipped() -> None:
    parser = ListingParser()
    text = (
        b"<ListVolumeResult><Name>v</Name><Contents><Size>1</Size></Contents>"
        b"<Contents> <Owner>o</Owner><Size>7</Size><Name>k</Name></Contents></ListVolumeResult>"
    )
    assert parser.receive(text) == [ListedObject(b"k", 0, b"", 7, b"o")]


@pytest.mark.parametrize("bad", [b"<Size>x</Size>", b"<ETag>zz</ETag>", b"<LastModified>now</LastModified>"])
def test_an_entry_that_cannot_be_read_is_an_error(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ListingParser().receive(b"<Contents><Name>k</Name>" + bad + b"</Contents>")


def test_an_entry_without_an_end_is_not_kept_for_ever() -> None:
    parser = ListingParser()
    for _ in range(chunklist.MAXIMUM_ENTRY // 1000):
        assert parser.receive(b"<Contents>" + b"x" * 990) == []
    with pytest.raises(ValueError, match="too long"):
        parser.receive(b"x" * 1000)


@given(
    st.binary(min_size=1, max_size=60).filter(lambda key: b"\0" not in key),
    st.integers(0, 2**33),
    st.binary(min_size=20, max_size=20),
    st.integers(0, 2**63),
    st.integers(1, 200),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(name: bytes, mtime: int, sha1: bytes, size: int, cut: int) -> None:
    listed = ListedObject(name, mtime, sha1, size, b"owner & <co>")
    text = chunklist.HEAD + chunklist.entry(listed) * 2 + chunklist.TAIL
    parser = ListingParser()
    assert parser.receive(text[:cut]) + parser.receive(text[cut:]) == [listed, listed]
