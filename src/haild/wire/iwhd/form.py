"""Forms as clients post them: x-www-form-urlencoded (HTML 4.01, 17.13.4) and multipart/form-data (RFC 7578).

A field that comes several times is one value in pieces: the pieces are joined (iwhd.md 4.1). A value ends at its
first NUL byte, as values of attributes do (iwhd.md 7.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from haild.wire.iwhd.target import is_name

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAXIMUM_FIELDS: Final = 1000

Form = dict[str, bytes]
"""Values by name, in the order in which the names first came."""


class FormTypeError(Exception):
    """The content type is not that of a form."""


class FormError(Exception):
    """The body is not a form of its content type, or a field has an unusable name."""


def parse(content_type: str, body: bytes) -> Form:
    """The fields of a posted form. Raises FormTypeError for other content types, FormError for bad bodies."""
    header = Message()
    header["Content-Type"] = content_type.replace("\r", "").replace("\n", "")
    kind = header.get_content_type()
    if content_type and kind == "application/x-www-form-urlencoded":
        return _collected(_urlencoded(body))
    if content_type and kind == "multipart/form-data":
        boundary = header.get_param("boundary")
        if not isinstance(boundary, str) or not 1 <= len(boundary) <= 70 or not boundary.isascii():
            raise FormError("a multipart form without a proper boundary")
        return _collected(_multipart(body, boundary.encode("ascii")))
    raise FormTypeError(f"{content_type!r} is no form")


def _collected(fields: Iterator[tuple[bytes, bytes]]) -> Form:
    form: dict[str, list[bytes]] = {}
    for count, (raw_name, value) in enumerate(fields):
        if count >= MAXIMUM_FIELDS:
            raise FormError(f"more than {MAXIMUM_FIELDS} fields")
        try:
            name = raw_name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormError("a field name is not UTF-8") from error
        if not is_name(name):
            raise FormError(f"{name!r} cannot be a name")
        form.setdefault(name, []).append(value)
    return {name: b"".join(pieces).partition(b"\0")[0] for name, pieces in form.items()}


def _urlencoded(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    for pair in body.strip(b"\r\n").split(b"&", MAXIMUM_FIELDS + 1):
        if pair:
            name, _, value = pair.partition(b"=")
            yield unquote_to_bytes(name.replace(b"+", b" ")), unquote_to_bytes(value.replace(b"+", b" "))


class _Parts:
    """What python-multipart's parser reports, collected into fields."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.ended = False
        self._header = b""
        self._disposition = b""
        self._field = b""
        self._value: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._end_header,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._end_all,
        }

    def _begin(self) -> None:
        if len(self.fields) >= MAXIMUM_FIELDS:
            raise FormError(f"more than {MAXIMUM_FIELDS} fields")
        self._disposition = self._header = self._field = b""
        self._value = []

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._field
        self._header = self._field = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._value.append(data[start:end])

    def _end(self) -> None:
        kind, parameters = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in parameters:
            raise FormError("a part of a multipart form without a name")
        self.fields.append((parameters[b"name"], b"".join(self._value)))

    def _end_all(self) -> None:
        self.ended = True


def _multipart(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    if body.strip() == b"--%b--" % boundary:
        return iter(())  # what browsers send for a form without fields; the parser wants one part at least
    parts = _Parts()
    try:
        MultipartParser(boundary, parts.callbacks()).write(body)
    except FormParserError as error:
        raise FormError(f"no proper multipart form: {error}") from error
    if not parts.ended:
        raise FormError("a multipart form without its end")
    return iter(parts.fields)
