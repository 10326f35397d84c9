"""Patterns in which `*` stands for any text and `?` for any character; nothing else is special."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]")))  # fnmatch knows brackets as well


def like(pattern: str, value: str) -> bool:
    """True if all of `value` fits `pattern`."""
    return _compiled(pattern).match(value) is not None
