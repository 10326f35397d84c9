"""XML documents of the S3 API: reading them, and the pieces from which answers are written.

Sources: tabled.md sections 10 and 17.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from haild.wire import xmltree
from haild.wire.xmltree import Element, MalformedXMLError

__all__ = [
    "Element",
    "MalformedXMLError",
    "bare_document",
    "document",
    "element",
    "encoded",
    "error",
    "escape",
    "listed_key",
    "listed_keys",
    "owner",
    "parse",
    "timestamp",
]

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

_SPECIAL: Final = re.compile("[&<>\"'\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NAMED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_ENCODED_SAFE: Final = "/~"
_TO_ENCODE: Final = re.compile("[^A-Za-z0-9_.~/-]")
"""What `encoded` does not leave as it is."""


def parse(document: bytes, root: str) -> Element:
    """Read a document whose root must be called `root`. Raises MalformedXMLError."""
    found = xmltree.parse(document)
    if found.name != root:
        raise MalformedXMLError(f"the root element is not {root}")
    return found


def escape(text: str) -> str:
    """`text` as it may stand in an element or attribute. Control characters become references.

    XML 1.0 has no way to write most control characters; S3 writes the reference all the same.
    """
    return _SPECIAL.sub(_reference, text)


def _reference(match: re.Match[str]) -> str:
    character = match[0]
    if character in _NAMED:
        return _NAMED[character]
    if character >= "\ud800":
        return "&#xfffd;"
    return f"&#x{ord(character):x};"


def element(name: str, text: object) -> str:
    """`<name>text</name>` with the text escaped; booleans as true and false."""
    if isinstance(text, bool):
        text = "true" if text else "false"
    return f"<{name}>{escape(str(text))}</{name}>"


def document(name: str, *parts: str) -> bytes:
    """A whole document: declaration, and the root `name` in the S3 namespace around `parts`."""
    return f'{DECLARATION}<{name} xmlns="{NAMESPACE}">{"".join(parts)}</{name}>\n'.encode()


def bare_document(name: str, *parts: str) -> bytes:
    """A whole document whose root is in no namespace, as the answer to a form is."""
    return f"{DECLARATION}<{name}>{''.join(parts)}</{name}>\n".encode()


def owner(user: str, name: str = "Owner") -> str:
    """An Owner (or Initiator): the user name is identity and display name at once (tabled.md section 7)."""
    text = escape(user)
    return f"<{name}><ID>{text}</ID><DisplayName>{text}</DisplayName></{name}>"


def error(code: str, message: str, resource: str, request_id: str, more: Iterable[tuple[str, str]] = ()) -> bytes:
    """An Error document. It has no namespace, as S3 writes it."""
    fields = [("Code", code), ("Message", message), ("Resource", resource), *more, ("RequestId", request_id)]
    text = "".join(element(name, value) for name, value in fields)
    return f"{DECLARATION}<Error>{text}</Error>\n".encode()


def timestamp(seconds: float) -> str:
    """A time in a document: `2010-11-28T18:41:22.000Z`."""
    return _timestamp(int(seconds))


@lru_cache(maxsize=4096)  # objects are stored many in a second, and a page lists a thousand
def _timestamp(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def encoded(text: str) -> str:
    """A key as `encoding-type=url` wants it."""
    return quote(text, safe=_ENCODED_SAFE, errors="replace")


def listed_key(text: str, url: bool) -> str:
    """A key or prefix for a listing, ready to stand in an element."""
    return encoded(text) if url else escape(text)


def listed_keys(texts: Sequence[str], url: bool) -> Sequence[str]:
    """Keys for a listing, ready to stand in elements. One look tells whether any of them has something to escape."""
    if (_TO_ENCODE if url else _SPECIAL).search("".join(texts)) is None:
        return texts
    return [encoded(text) for text in texts] if url else [escape(text) for text in texts]
