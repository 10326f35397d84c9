"""An encrypted body: frames of 64 KiB, each sealed by AES-256-GCM under the body's own key. Pure.

The nonce of a frame is its number and a mark on the last one. A frame that was moved, repeated, left out or cut off
is noticed, and a range needs only the frames that it touches. A key seals one body only, so no nonce is ever used
twice.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FRAME: Final = 1 << 16
"""Bytes of plain text in every frame but the last."""
TAG: Final = 16
"""Bytes that sealing adds to a frame."""
SEALED_FRAME: Final = FRAME + TAG
KEY: Final = 32
"""Bytes of a key."""
_NONCE: Final = struct.Struct(">QI")

Piece = bytes | bytearray | memoryview


class DamagedFrameError(Exception):
    """A frame is not what was sealed with this key at this place."""


def frames_of(length: int) -> int:
    """How many frames `length` bytes of plain text need."""
    return -(-length // FRAME)


def sealed_length(length: int) -> int:
    """Bytes of the sealed form of `length` bytes of plain text."""
    return length + TAG * frames_of(length)


def plain_length(sealed: int) -> int:
    """Bytes of plain text in a sealed body of `sealed` bytes."""
    return sealed - TAG * -(-sealed // SEALED_FRAME)


def sealed_range(first: int, length: int, total: int) -> tuple[int, int]:
    """Offset and length of the sealed frames that hold `length` > 0 bytes of plain text from byte `first` on.

    `total`: bytes of plain text in the whole body.
    """
    begin, end = first // FRAME, frames_of(first + length)
    return begin * SEALED_FRAME, sealed_length(min(end * FRAME, total)) - begin * SEALED_FRAME


def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 14 ms that a start does not pay

    return AESGCM(key)


class _Framing:
    """Cuts a stream into frames. `unit`: bytes of a frame as it comes in."""

    def __init__(self, key: bytes, total: int, first_frame: int, unit: int) -> None:
        self._cipher = _cipher(key)
        self._last = frames_of(total) - 1
        self._number = first_frame
        self._unit = unit
        self._held = bytearray()

    def _nonce(self) -> bytes:
        nonce = _NONCE.pack(self._number, self._number == self._last)
        self._number += 1
        return nonce

    def _cut(self, piece: Piece) -> list[Piece]:
        """The frames that are whole now. Views of `piece` where it holds a whole frame: nothing is copied."""
        view, frames = memoryview(piece), list[Piece]()
        if self._held:
            wanted = self._unit - len(self._held)
            self._held += view[:wanted]
            view = view[wanted:]
            if len(self._held) < self._unit:
                return frames
            frames.append(bytes(self._held))
            self._held.clear()
        whole = len(view) - len(view) % self._unit
        frames += [view[at : at + self._unit] for at in range(0, whole, self._unit)]
        self._held += view[whole:]
        return frames

    def _rest(self) -> list[Piece]:
        rest: list[Piece] = [bytes(self._held)] if self._held else []
        self._held.clear()
        return rest


class Sealer(_Framing):
    """Seals one body of `total` bytes, which comes in pieces of any size."""

    def __init__(self, key: bytes, total: int) -> None:
        super().__init__(key, total, 0, FRAME)

    def feed(self, piece: Piece) -> bytes:
        """Take plain text; returns the sealed frames that are whole, maybe none."""
        return self._seal(self._cut(piece))

    def finish(self) -> bytes:
        """The last frame, where it is shorter than the others."""
        return self._seal(self._rest())

    def _seal(self, frames: list[Piece]) -> bytes:
        return b"".join([self._cipher.encrypt(self._nonce(), frame, None) for frame in frames])


class Opener(_Framing):
    """Opens the frames of a body of `total` bytes, from `first_frame` on."""

    def __init__(self, key: bytes, total: int, first_frame: int = 0) -> None:
        super().__init__(key, total, first_frame, SEALED_FRAME)

    def feed(self, piece: Piece) -> bytes:
        """Take sealed bytes; returns the plain text of the frames that are whole. Raises DamagedFrameError."""
        return self._open(self._cut(piece))

    def finish(self) -> bytes:
        """The plain text of the last frame, where it is shorter than the others. Raises DamagedFrameError."""
        return self._open(self._rest())

    def _open(self, frames: list[Piece]) -> bytes:
        if not frames:
            return b""
        from cryptography.exceptions import InvalidTag

        try:
            return b"".join([self._cipher.decrypt(self._nonce(), frame, None) for frame in frames])
        except InvalidTag:
            raise DamagedFrameError(f"frame {self._number - 1} is damaged or not of this body") from None


def unseal(key: bytes, sealed: Piece) -> bytes:
    """The plain text of a whole small body. Raises DamagedFrameError."""
    opener = Opener(key, plain_length(len(sealed)))
    return opener.feed(sealed) + opener.finish()
