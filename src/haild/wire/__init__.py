"""Codecs: bytes in, messages out, and back; no socket, no clock, no file.

`sigv2` and `sigv4` can be had from here, too, as programs beside the project sign requests with them.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name in ("sigv2", "sigv4"):
        return importlib.import_module(f"haild.wire.s3.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
