"""Recognising a full disk in what programs say, and the error for the engine's."""

from __future__ import annotations

from typing import Final

from hailbox.model.errors import DiskFullError

_SAID: Final = "no space left on device"
"""ENOSPC, in English, as libc and Go have it."""

REMEDY: Final = "free some space (docker system df shows what takes it) and run the command again"


def is_full(said: str) -> bool:
    """Whether a program that failed says, in English, that no space was left."""
    return _SAID in said.lower()


def engine_full(said: str) -> DiskFullError:
    """The error for an engine that has no space left, with its own last word."""
    return DiskFullError(f"the engine's disk is full: {said}", REMEDY)
