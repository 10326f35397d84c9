"""Forms as clients post them: x-www-form-urlencoded (HTML 4.01, 17.13.4) and multipart/form-data (RFC 7578).

A field that comes several times counts as one value handed over in pieces: the pieces are joined (iwhd.md 4.1).
A value ends at its first NUL byte, as values of attributes do (iwhd.md 7.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from typing import Final
from urllib.parse import unquote_to_bytes

from haild.wire.iwhd.target import is_name

MAXIMUM_FIELDS: Final = 1000

Form = dict[str, bytes]
"""Values by name, in the order in which the names first came."""


class FormTypeError(Exception):
    """The content type is none of a form."""


class FormError(Exception):
    """The body is no form of the type it says, or has a name that cannot be a name."""


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


_DISPOSITION: Final = re.compile(rb"(?i)content-disposition:\s*form-data\s*(;.*)")
_PARAMETER: Final = re.compile(rb';\s*([\w*-]+)=(?:"([^"]*)"|([^;"\s]+))')


def _multipart(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    delimiter = b"\r\n--" + boundary
    parts = (b"\r\n" + body).split(delimiter, MAXIMUM_FIELDS + 2)
    if len(parts) < 2:
        raise FormError("a multipart form without its boundary")
    for part in parts[1:]:
        if part.startswith(b"--"):
            return
        head, separator, value = part.lstrip(b" \t").partition(b"\r\n\r\n")
        if not separator:
            raise FormError("a part of a multipart form without a header")
        yield _part_name(head), value
    raise FormError("a multipart form without its end")


def _part_name(head: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        disposition = _DISPOSITION.fullmatch(line)
        for parameter in _PARAMETER.finditer(disposition[1]) if disposition else ():
            if parameter[1].lower() == b"name":
                return parameter[2] if parameter[2] is not None else parameter[3]
    raise FormError("a part of a multipart form without a name")
