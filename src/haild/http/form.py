"""Forms of browsers (multipart/form-data, RFC 7578), without I/O: bytes in, parts out; none of them is kept here.

The parser is python-multipart's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

MOST_HEAD: Final = 1 << 14
"""Bytes of the header lines of a part."""


class FormError(ValueError):
    """What came is no form."""


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part begins. `filename` is there where it is a file."""

    name: str
    filename: str | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part has come whole."""


@dataclass(frozen=True, slots=True)
class FormEnd:
    """The form has come whole."""


Event = PartBegin | bytes | PartEnd | FormEnd


class FormParser:
    """The parser of one form."""

    def __init__(self, content_type: str) -> None:
        """`content_type`: the header's value. Raises FormError."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise FormError("the Content-Type is not multipart/form-data with a boundary")
        self._events: list[Event] = []
        self._headers: dict[str, bytes] = {}
        self._field = self._value = b""
        self._head_size = 0
        callbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": lambda: self._events.append(PartEnd()),
            "on_end": lambda: self._events.append(FormEnd()),
        }
        try:
            self._parser: Final = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        except FormParserError as error:
            raise FormError(str(error)) from None

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes as they came; returns what they complete. Raises FormError."""
        self._events = []
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise FormError(str(error)) from None
        return self._events

    def _on_part_begin(self) -> None:
        self._headers, self._field, self._value, self._head_size = {}, b"", b"", 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += self._of_head(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._of_head(data[start:end])

    def _of_head(self, piece: bytes) -> bytes:
        self._head_size += len(piece)
        if self._head_size > MOST_HEAD:
            raise FormError("the head of a part is too long")
        return piece

    def _on_header_end(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        if b"name" not in options:
            raise FormError("a part has no name")
        filename, kind = options.get(b"filename"), self._headers.get("content-type")
        self._events.append(
            PartBegin(
                options[b"name"].decode("utf-8", "replace"),
                None if filename is None else filename.decode("utf-8", "replace"),
                None if kind is None else kind.decode("utf-8", "replace"),
            )
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])
