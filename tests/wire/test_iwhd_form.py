"""Forms as clients of 2011 posted them, and malformed ones."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.iwhd.form import FormError, FormTypeError, parse

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XX"


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"", {}),
        (b"op=parts", {"op": b"parts"}),
        (b"_key=a%20b+c&x=%00y", {"_key": b"a b c", "x": b""}),
        (b"a=1&&b", {"a": b"1", "b": b""}),
        (b"a=1&b=2&a=3", {"a": b"13", "b": b"2"}),
        (b"a=%ff%C3%A9", {"a": b"\xff\xc3\xa9"}),
        (b"a=x\0y&a=z", {"a": b"x"}),
        (b"op=push\r\n", {"op": b"push"}),
    ],
)
def test_urlencoded(body: bytes, form: dict[str, bytes]) -> None:
    assert parse(URLENCODED, body) == form
    assert parse(URLENCODED + "; charset=UTF-8", body) == form


def quoted(name: str) -> str:
    """`name` as the content of a quoted string (RFC 9110, 5.6.4)."""
    return name.replace("\\", "\\\\").replace('"', '\\"')


def multipart(*fields: tuple[str, bytes]) -> bytes:
    parts = [
        b'--XX\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (quoted(name).encode(), value)
        for name, value in fields
    ]
    return b"".join(parts) + b"--XX--\r\n"


def test_multipart() -> None:
    assert parse(MULTIPART, multipart(("op", b"register"), ("x", b"a\r\n--XY\r\n"), ("op", b"!"))) == {
        "op": b"register!",
        "x": b"a\r\n--XY\r\n",
    }
    disposition = b'Content-Disposition: form-data; filename="name=f"; name=f'
    upload = b"--XX\r\nContent-Type: text/plain\r\n" + disposition + b"\r\n\r\nv\r\n--XX--"
    assert parse('multipart/form-data; boundary="XX"', upload) == {"f": b"v"}


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json", "multipart/mixed; boundary=XX", "x"])
def test_no_form(content_type: str) -> None:
    with pytest.raises(FormTypeError):
        parse(content_type, b"a=b")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (URLENCODED, b"%ff=x"),
        (URLENCODED, b"=x"),
        (URLENCODED, b"a%0ab=x"),
        (URLENCODED, b"&".join(b"a%d=1" % i for i in range(1001))),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=" + "x" * 71, b""),
        (MULTIPART, b""),
        (MULTIPART, b"--XX\r\n"),
        (MULTIPART, b"--XX\r\nContent-Disposition: form-data\r\n\r\nv\r\n--XX--"),
        (MULTIPART, b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\nv'),
    ],
)
def test_bad_form(content_type: str, body: bytes) -> None:
    with pytest.raises(FormError):
        parse(content_type, body)


NAME = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAME, st.binary(max_size=20).filter(lambda value: b"\0" not in value), max_size=6))
def test_what_is_encoded_is_read(fields: dict[str, bytes]) -> None:
    assert parse(URLENCODED, urlencode(fields).encode()) == fields
    if not any(b"--XX" in value for value in fields.values()):
        assert parse(MULTIPART, multipart(*fields.items())) == fields


@settings(max_examples=80, deadline=None)
@given(
    st.text(max_size=40),
    st.binary(max_size=80) | st.lists(st.sampled_from([b"--XX", b"\r\n", b"--", b"a"])).map(b"".join),
)
def test_any_bytes_are_read_or_refused(content_type: str, body: bytes) -> None:
    for kind in (content_type, URLENCODED, MULTIPART):
        try:
            form = parse(kind, body)
        except (FormError, FormTypeError):
            continue
        assert all(b"\0" not in value for value in form.values())
