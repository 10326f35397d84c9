"""XML documents of the S3 API: a hardened reader and the pieces from which answers are written.

Sources: tabled.md sections 10 and 17.4; the reader refuses document types, entities, deep nesting and
wrong encodings, so that no document costs more than its own size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote
from xml.parsers import expat

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
MAXIMUM_DEPTH = 12
MAXIMUM_ELEMENTS = 50_000
"""A CompleteMultipartUpload of 10,000 parts, each with number, tag and a checksum, has 40,001."""

_SPECIAL = re.compile("[&<>\"'\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_ENCODED_SAFE = "/~"


class MalformedXMLError(ValueError):
    """The document is not well-formed or not one that this API takes."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: local name, the text directly in it, its attributes and children (namespaces removed)."""

    name: str
    text: str
    attributes: dict[str, str]
    children: tuple[Element, ...]

    def all(self, name: str) -> Iterable[Element]:
        """Every child called `name`, in order."""
        return (child for child in self.children if child.name == name)

    def first(self, name: str) -> Element | None:
        """The first child called `name`."""
        return next(iter(self.all(name)), None)

    def value(self, name: str, default: str = "") -> str:
        """The text of the first child called `name`, else `default`."""
        child = self.first(name)
        return default if child is None else child.text


class _Builder:
    def __init__(self) -> None:
        self.stack: list[tuple[str, dict[str, str], list[str], list[Element]]] = []
        self.root: Element | None = None
        self.count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.count += 1
        if len(self.stack) >= MAXIMUM_DEPTH or self.count > MAXIMUM_ELEMENTS:
            raise MalformedXMLError("the document is nested too deeply or has too many elements")
        self.stack.append((name, attributes, [], []))

    def text(self, data: str) -> None:
        self.stack[-1][2].append(data)

    def end(self, _name: str) -> None:
        name, attributes, text, children = self.stack.pop()
        element = Element(_local(name), "".join(text), {_local(k): v for k, v in attributes.items()}, tuple(children))
        if self.stack:
            self.stack[-1][3].append(element)
        else:
            self.root = element

    def refuse(self, *_arguments: object) -> None:
        raise MalformedXMLError("document type declarations are not allowed")


def _local(name: str) -> str:
    return name.rpartition("}")[2].rpartition(":")[2] if ":" in name or "}" in name else name


def parse(document: bytes, root: str) -> Element:
    """Read a document whose root must be called `root`. Raises MalformedXMLError."""
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.EntityDeclHandler = builder.refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, MalformedXMLError):
            raise
        raise MalformedXMLError(f"not well-formed: {error}") from error
    if builder.root is None or builder.root.name != root:
        raise MalformedXMLError(f"the root element is not {root}")
    return builder.root


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
