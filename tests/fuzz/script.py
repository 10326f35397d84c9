"""Bytes of a fuzzer read as decisions, for targets whose input has to be valid in part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Script:
    """Takes decisions from `data`, from the front; at its end every decision is 0 or empty, and `ended` is true."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def ended(self) -> bool:
        """Whether all bytes are used up."""
        return self._offset >= len(self._data)

    def byte(self) -> int:
        """A number from 0 to 255."""
        return int.from_bytes(self.take(1), "little")

    def take(self, count: int) -> bytes:
        """At most `count` bytes as they are."""
        taken = self._data[self._offset : self._offset + count]
        self._offset += count
        return taken

    def counted(self) -> bytes:
        """At most 255 bytes: their number, then they themselves."""
        return self.take(self.byte())

    def choice(self, choices: Sequence[T]) -> T:
        """One of at most 256 choices."""
        return choices[self.byte() % len(choices)]
