"""A small, hardened XML reader: the documents of S3, and the configurations and records of the daemons.

It refuses document types, entities, deep nesting and wrong encodings, so that no document costs more than its own
size. Any encoding that expat knows is read (UTF-8, UTF-16 with its byte order mark, declared 8-bit ones).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

MAXIMUM_DEPTH: Final = 12
MAXIMUM_ELEMENTS: Final = 50_000
"""A CompleteMultipartUpload of 10,000 parts, each with number, tag and a checksum, has 40,001."""


class MalformedXMLError(ValueError):
    """The document is not well-formed, or is larger or deeper than is allowed."""


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
    return name.rpartition(":")[2] if ":" in name else name


def parse(*pieces: bytes, encoding: str | None = None) -> Element:
    """The root element of the document that the pieces make up.

    `encoding` overrides what the document declares. Raises MalformedXMLError, with the line.
    """
    builder = _Builder()
    parser = expat.ParserCreate(encoding)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.EntityDeclHandler = builder.refuse
    try:
        for piece in pieces:
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise MalformedXMLError(f"line {error.lineno}: {expat.ErrorString(error.code)}") from error
    except (LookupError, ValueError) as error:
        if isinstance(error, MalformedXMLError):
            raise
        raise MalformedXMLError(f"not well-formed: {error}") from error
    if builder.root is None:  # pragma: no cover - expat reports a document without a root itself
        raise MalformedXMLError("no element")
    return builder.root
