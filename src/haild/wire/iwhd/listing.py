"""What the lists of the image warehouse are made of, whatever form they are sent in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

HARMFUL: Final = re.compile(
    "[\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Characters of a name that a terminal obeys, or that hide what a text says: C1 controls, bidirectional and other
format characters. Lists carry them as escapes; what a parser reads is the same."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the root document: its relation and its absolute address."""

    relation: str
    address: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a bucket list or query."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """A provider as the provider list shows it; credentials are in clear (iwhd.md 5.3)."""

    name: str
    type: str
    host: str = ""
    port: int = 0
    username: str = ""
    password: str = ""
