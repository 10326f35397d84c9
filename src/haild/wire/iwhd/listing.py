"""What the lists of the image warehouse are made of, whatever form they are sent in."""

from __future__ import annotations

from dataclasses import dataclass


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
