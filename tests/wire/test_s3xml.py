"""The XML reader refuses what costs more than it is worth; what is written is read again."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire import xmltree
from haild.wire.s3 import xml as s3xml

BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;">]>
<Delete><Object><Key>&lol2;</Key></Object></Delete>"""


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<Delete>",
        b"<Other/>",
        BOMB,
        b'<!DOCTYPE Delete SYSTEM "file:///etc/passwd"><Delete/>',
        b"<Delete>" + b"<a>" * 20 + b"</a>" * 20 + b"</Delete>",
        b"<Delete>" + b"<a/>" * (xmltree.MAXIMUM_ELEMENTS + 1) + b"</Delete>",
        b'<?xml version="1.0" encoding="no-such"?><Delete/>',
        b"<Delete>&undefined;</Delete>",
        b"\xff\xfe<",
    ],
)
def test_refused(document: bytes) -> None:
    with pytest.raises(s3xml.MalformedXMLError):
        s3xml.parse(document, "Delete")


def test_namespaces_and_prefixes_do_not_matter() -> None:
    for text in (
        '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet></Delete>',
        '<a:Delete xmlns:a="urn:x"><a:Quiet>true</a:Quiet></a:Delete>',
        "<Delete><Quiet>true</Quiet></Delete>",
    ):
        assert s3xml.parse(text.encode(), "Delete").value("Quiet") == "true"


def test_attributes_lose_their_prefix() -> None:
    text = b'<A xmlns:xsi="urn:x"><G xsi:type="Group"/></A>'
    grantee = s3xml.parse(text, "A").first("G")
    assert grantee is not None
    assert grantee.attributes["type"] == "Group"


READABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)


@settings(max_examples=60, deadline=None)
@given(READABLE)
def test_written_text_is_read_again(text: str) -> None:
    document = s3xml.document("Root", s3xml.element("Key", text))
    assert s3xml.parse(document, "Root").value("Key") == text


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for document in (data, b"<Delete>" + data + b"</Delete>"):
        with contextlib.suppress(s3xml.MalformedXMLError):
            assert s3xml.parse(document, "Delete").name == "Delete"


def test_odd_characters() -> None:
    assert s3xml.escape("a\x01<\ud800") == "a&#x1;&lt;&#xfffd;"
    assert s3xml.listed_key("ä b/+", url=True) == "%C3%A4%20b/%2B"
    assert s3xml.timestamp(1290969682.9) == "2010-11-28T18:41:22.000Z"


def test_error_document() -> None:
    text = s3xml.error("NoSuchKey", "a < b", "/b/k", "ID", [("Key", "k")]).decode()
    assert "<Code>NoSuchKey</Code><Message>a &lt; b</Message><Resource>/b/k</Resource><Key>k</Key>" in text
