"""What an operation answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final

from haild.tabled.bodies.placement import Piece

XML: Final = "application/xml"


@dataclass(slots=True)
class Answer:
    """An answer: bytes, or a stream of exactly `length` bytes."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncGenerator[Piece, None] | None = None
    length: int | None = None


def xml(document: bytes, status: int = 200) -> Answer:
    """An answer with a document."""
    return Answer(status, {"Content-Type": XML}, document)


def quoted(etag: str) -> str:
    """An entity tag as headers and documents have it."""
    return f'"{etag}"'
