"""The XML-like text in which tabled, chunkd and their records in CLD are written.

Elements only, several at top level, case-sensitive names, comments allowed, attributes ignored
(tabled.md section 3, chunkd.md section 9, discovery.md section 3). Values are taken verbatim.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from haild.backoff import retry_blocking
from haild.wire import xmltree
from haild.wire.numbers import decimal

__all__ = ["Element", "SettingsError", "await_file", "decimal", "load", "parse", "port_number"]

MAXIMUM_SIZE: Final = 1 << 20
"""Bytes; a configuration is a few hundred."""

_PROLOGUE: Final = b"<settings>"


class SettingsError(Exception):
    """The text is not well-formed, or a value in it cannot be used."""


@dataclass(frozen=True)
class Element:
    """One element: its name, the text directly in it, and the elements in it."""

    name: str
    text: str = ""
    children: tuple[Element, ...] = field(default=())

    def all(self, name: str) -> Iterator[Element]:
        """Every child called `name`, in order."""
        return (child for child in self.children if child.name == name)

    def value(self, name: str) -> str | None:
        """The text of the last child called `name` ("last wins"); None if absent or only white space."""
        found: str | None = None
        for child in self.all(name):
            if child.text.strip():
                found = child.text
        return found


def parse(text: bytes) -> Element:
    """Parse the text of a configuration or record.

    Returns an element without a name whose children are the top-level elements.
    Raises SettingsError, with the line, where the text is not well-formed.
    """
    if len(text) > MAXIMUM_SIZE:
        raise SettingsError(f"{len(text)} bytes are more than a configuration may have ({MAXIMUM_SIZE})")
    try:
        root = xmltree.parse(_PROLOGUE, text, b"</settings>", encoding="utf-8")
    except xmltree.MalformedXMLError as error:
        raise SettingsError(str(error)) from error
    return replace(_settings(root), name="")


def _settings(element: xmltree.Element) -> Element:
    return Element(element.name, element.text, tuple(map(_settings, element.children)))


def load(path: Path) -> Element:
    """Parse the file at `path`. Raises SettingsError, naming the file, where it cannot be read or parsed."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def await_file(path: Path) -> None:
    """Wait until the file at `path` exists, at most HAILD_CONFIG_DEADLINE seconds (environment; default 0).

    In a stack the files are written by a one-shot container that starts together with the daemons. Returns
    in either case: the reader of the file has the better message. Called before the event loop runs.
    """

    def look() -> None:
        if not path.exists():
            raise FileNotFoundError

    within = float(os.environ.get("HAILD_CONFIG_DEADLINE", "0"))
    with contextlib.suppress(FileNotFoundError):
        retry_blocking(look, on=FileNotFoundError, first=0.01, longest=0.2, within=within)


def port_number(text: str, *, auto: bool = False) -> int:
    """A TCP or UDP port from its decimal text; 0 for `auto` where that is allowed. Raises SettingsError."""
    if auto and text == "auto":
        return 0
    number = decimal(text, 1, 65535)
    if number is not None:
        return number
    allowed = "1 to 65535, or auto" if auto else "1 to 65535"
    raise SettingsError(f"port {text!r} is not a number from {allowed}")
