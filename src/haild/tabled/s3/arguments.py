"""Numbers and documents that a request carries, read or refused with S3's codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from haild.tabled.s3.errors import S3Error
from haild.wire.numbers import decimal
from haild.wire.s3 import xml as s3xml

_LARGEST: Final = 2_147_483_647


def number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A non-negative number from the query, at most `most`. Raises InvalidArgument."""
    text = query.get(name, "")
    if not text:
        return default
    found = decimal(text, 0, _LARGEST)
    if found is None:
        raise S3Error(
            "InvalidArgument",
            f"Argument {name} must be an integer between 0 and {_LARGEST}",
            fields={"ArgumentName": name, "ArgumentValue": text},
        )
    return min(found, most)


def read_document(body: bytes, root: str) -> s3xml.Element:
    """Parse a document. Raises MissingRequestBodyError and MalformedXML."""
    if not body:
        raise S3Error("MissingRequestBodyError", "Request Body is empty")
    try:
        return s3xml.parse(body, root)
    except s3xml.MalformedXMLError as error:
        raise S3Error("MalformedXML", f"The XML you provided is not what it should be: {error}.") from None
