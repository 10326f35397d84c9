"""What the user chose: the command line over the environment over `hailbox.yaml` over the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hailbox.model import names
from hailbox.model.errors import ConfigurationError

_KEYS = {"stack", "profile", "scale", "ports", "images"}

REPLICA_COUNTS = range(1, 33)
"""How many replicas a service may have."""

PORT_NUMBERS = range(1, 65536)


@dataclass(frozen=True)
class Config:
    """A user's choices, all of them optional."""

    stack: str = names.DEFAULT_STACK
    profile: str | None = None
    """None: the one that the stack has already, else `s3`."""
    scale: Mapping[str, int] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    """By replica: the port on the host that the user insists on."""
    images: Mapping[str, str] = field(default_factory=dict)
    """By service: an image of the user's own in place of ours."""


def from_mapping(text: Any, origin: str) -> Config:
    """The choices in `hailbox.yaml`. Raises ConfigurationError, naming the file and the key."""
    if text is None:
        return Config()
    if not isinstance(text, dict):
        raise ConfigurationError(f"{origin} is not a mapping", f"its keys may be: {', '.join(sorted(_KEYS))}")
    if unknown := sorted(set(map(str, text)) - _KEYS):
        raise ConfigurationError(
            f"{origin} has the unknown key {unknown[0]!r}", f"its keys may be: {', '.join(sorted(_KEYS))}"
        )
    return Config(
        stack=names.check_stack(_text(text, "stack", origin) or names.DEFAULT_STACK),
        profile=_text(text, "profile", origin),
        scale=_counts(text, "scale", origin, REPLICA_COUNTS),
        ports=_counts(text, "ports", origin, PORT_NUMBERS),
        images=_texts(text, "images", origin),
    )


def _text(text: Mapping[str, Any], key: str, origin: str) -> str | None:
    value = text.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{origin}: {key} is {value!r}", f"make {key} a text")
    return value


def _mapping(text: Mapping[str, Any], key: str, origin: str) -> dict[str, Any]:
    value = text.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{origin}: {key} is {value!r}", f"make {key} a mapping of names to values")
    return {str(name): entry for name, entry in value.items()}


def _texts(text: Mapping[str, Any], key: str, origin: str) -> dict[str, str]:
    values = _mapping(text, key, origin)
    for name, value in values.items():
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"{origin}: {key}.{name} is {value!r}", f"make {key}.{name} a text")
    return values


def _counts(text: Mapping[str, Any], key: str, origin: str, allowed: range) -> dict[str, int]:
    values = _mapping(text, key, origin)
    for name, value in values.items():
        if type(value) is not int or value not in allowed:
            raise ConfigurationError(
                f"{origin}: {key}.{name} is {value!r}", f"use a number from {allowed.start} to {allowed.stop - 1}"
            )
    return values
