"""Taking secrets out of texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_SECRET_NAMES: Final = ("SECRET", "KEY_ID", "CHUNK_USER", "TOKEN")
_LIKE_A_SECRET: Final = re.compile(r"\bHAIL[A-Z0-9]{16}\b|(?<![A-Za-z0-9+/])[A-Za-z0-9]{40}(?![A-Za-z0-9+/])")
"""Of the form that the stack's access keys and secrets have (haild.credentials)."""
_USER_INFO: Final = re.compile(r"(?<=://)[^/\s@]+@")
_SIGNED: Final = re.compile(r"(?i)\b(authorization: *[a-z0-9-]* *|signature=)[^\s\"'&]+")


class Redactor:
    """Replaces what is known to be secret, and what looks like it."""

    def __init__(self, credentials: Mapping[str, str] | None) -> None:
        known = credentials or {}
        # A stack with programs of the user's own has secrets that are the names of their users: public.
        users = {value for name, value in known.items() if name == "CLD_USER"}
        self._secrets = {
            value: name
            for name, value in known.items()
            if any(word in name for word in _SECRET_NAMES) and value not in users
        }

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for value, name in sorted(self._secrets.items(), key=lambda item: -len(item[0])):
            text = text.replace(value, f"[{name}]")
        text = _LIKE_A_SECRET.sub("[secret]", text)
        text = _USER_INFO.sub("[user]@", text)
        return _SIGNED.sub(lambda match: f"{match[1]}[signature]", text)
