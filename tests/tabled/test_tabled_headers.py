"""The headers of a request as S3 understands them."""

import pytest
from multidict import CIMultiDict

from haild.tabled.http import routes
from haild.tabled.s3 import addressing, headers
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import sigv2


def test_lines_of_one_name_are_one_list() -> None:
    lines = CIMultiDict(
        [("X-Amz-Object-Attributes", "ETag"), ("x-amz-object-attributes", "ObjectSize"), ("Host", "h")]
    )
    found = headers.effective(lines, {})
    assert found["x-amz-object-attributes"] == "ETag,ObjectSize"
    assert dict(found.items()) == {"X-Amz-Object-Attributes": "ETag,ObjectSize", "Host": "h"}


def test_the_query_of_a_signed_address_holds_headers() -> None:
    query = {"x-amz-acl": "private", "X-Amz-Meta-A": "b", "X-Amz-Signature": "s", "X-Amz-Date": "d", "versionId": "v"}
    found = headers.effective({"Host": "h"}, query)
    assert {name.lower(): value for name, value in found.items()} == {
        "host": "h",
        "x-amz-acl": "private",
        "x-amz-meta-a": "b",
    }


def test_header_and_query_must_agree() -> None:
    assert headers.effective({"x-amz-acl": "private"}, {"x-amz-acl": "private"})["X-Amz-Acl"] == "private"
    with pytest.raises(S3Error, match="InvalidRequest"):
        headers.effective({"x-amz-acl": "private"}, {"x-amz-acl": "public-read"})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("gzip", "gzip"),
        ("aws-chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, aws-chunked", "gzip"),
        ("gzip , br", "gzip , br"),
    ],
)
def test_content_encoding_is_kept_as_it_was_given(given: str, kept: str | None) -> None:
    assert headers.kept({"Content-Encoding": given}).get("Content-Encoding") == kept


@pytest.mark.parametrize(
    "value", ["=?UTF-8?B?!?=", "=?nonsense?B?YQ==?=", "=?UTF-8?B?/w==?=", "=?UTF-8?B?YQ0KYg==?=", "=?"]
)
def test_what_is_no_encoded_word_stays_as_it_is(value: str) -> None:
    assert headers.kept({"x-amz-meta-a": value})["x-amz-meta-a"] == value


def test_a_plus_in_a_query_is_a_blank() -> None:
    assert addressing.parse_query("prefix=a+b%2Bc&x+y") == {"prefix": "a b+c", "x y": ""}


def test_version_2_signs_whatever_chooses_an_operation() -> None:
    assert routes.SELECTORS <= sigv2.SUBRESOURCES
