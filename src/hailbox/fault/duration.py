"""Times as a user writes them: `500ms`, `10s`, `2m`, `1h`; a bare number is seconds."""

from __future__ import annotations

import re
from typing import Final

from hailbox.model.errors import UsageError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def seconds(text: str, option: str) -> float:
    """The seconds that `text` means. Raises UsageError, naming the option."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text.strip())
    if not match or float(match[1]) == 0:
        raise UsageError(
            f"{option} {text!r} is not a duration", f"write for example: {option} 500ms, {option} 10s, {option} 2m"
        )
    return float(match[1]) * _UNITS[match[2]]


def share(text: str, option: str) -> float:
    """The share from 0 to 1 that `text` means: `30%` or `0.3`. Raises UsageError, naming the option."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%|)", text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 < value <= 1:
        raise UsageError(f"{option} {text!r} is no share", f"write for example: {option} 30%")
    return value
