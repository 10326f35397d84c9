"""Configuration of iwhd: a JSON array of providers, the first of them the primary (iwhd.md section 3)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger(__name__)

MAXIMUM_SIZE: Final = 1 << 20
"""Bytes of a configuration file."""

RESERVED_KEYS: Final = frozenset({"name", "type", "host", "port", "key", "secret", "path"})

_NETWORK: Final = ("host", "port")
_ACCOUNT: Final = ("host", "port", "key", "secret")

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": _ACCOUNT,
    "cf": _ACCOUNT,
    "http": _NETWORK,
    "fs": ("path",),
    "fs-rhev-m": ("path",),
    "fs-condor": ("path",),
    "fs-vmw": ("path",),
}
"""The keys that each type of provider cannot do without."""


class ProviderSettingsError(Exception):
    """The settings of a provider cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One provider. `attributes` are the keys of its own, such as `nfsdir`; policies see them as `#name`."""

    name: str
    type: str
    host: str = ""
    port: int = 0
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    path: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def attribute(self, name: str) -> str | None:
        """The value of `#name` in a policy (iwhd.md 9.3): not the port; None where there is none."""
        if name in RESERVED_KEYS:
            return None if name == "port" else str(getattr(self, name))
        return self.attributes.get(name)


def parse(text: bytes) -> list[ProviderSettings]:
    """The providers of a configuration, at least one. Raises ProviderSettingsError, for syntax with the line."""
    if len(text) > MAXIMUM_SIZE:
        raise ProviderSettingsError(f"{len(text)} bytes are more than a configuration may have ({MAXIMUM_SIZE})")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProviderSettingsError(f"line {error.lineno}: {error.msg}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ProviderSettingsError(f"not JSON: {error}") from error
    if not isinstance(document, list):
        raise ProviderSettingsError("the configuration must be a JSON array of providers")
    if not document:
        raise ProviderSettingsError("no provider is configured: the array is empty")
    providers = [_provider(index, entry) for index, entry in enumerate(document)]
    names = [provider.name for provider in providers]
    for name in names:
        if names.count(name) > 1:
            raise ProviderSettingsError(f"two providers are called {name!r}")
    return providers


def load(path: Path) -> list[ProviderSettings]:
    """The providers of the file at `path`. Raises ProviderSettingsError, also where it cannot be read."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise ProviderSettingsError(f"{path}: {error.strerror}") from error


def _provider(index: int, entry: object) -> ProviderSettings:
    where = f"provider {index}"
    if not isinstance(entry, dict):
        raise ProviderSettingsError(f"{where}: not a JSON object")
    known: dict[str, Any] = {}
    attributes: dict[str, str] = {}
    for name, value in entry.items():
        if name.lower() in RESERVED_KEYS:
            known[name.lower()] = value
        elif isinstance(value, str):
            attributes[name] = value
        else:
            logger.warning("%s: ignored %r: its value is not a string", where, name)
    return from_values(where, known, attributes, needed=("name", "type"))


def from_values(
    where: str, known: Mapping[str, object], attributes: Mapping[str, str], *, needed: tuple[str, ...]
) -> ProviderSettings:
    """Settings from the reserved keys in `known` (a port is an int) and the others; checks both.

    `where` begins the text of the ProviderSettingsError that is raised for a missing or ill-typed key.
    """
    for name in needed:
        _check(where, name, known.get(name))
    kind = str(known["type"]).lower()
    if kind not in REQUIRED:
        raise ProviderSettingsError(f"{where}: type {kind!r} is none of {', '.join(REQUIRED)}")
    for name in REQUIRED[kind]:
        _check(where, name, known.get(name))
    for name, value in known.items():
        _check(where, name, value)
    return ProviderSettings(**{**known, "type": kind}, attributes=dict(attributes))  # type: ignore[arg-type]


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and value.isprintable()


_CHECKS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    name: (_is_port, "a number from 1 to 65535") if name == "port" else (_is_text, "a string")
    for name in RESERVED_KEYS
}


def _check(where: str, name: str, value: object) -> None:
    if value is None or (name in ("name", "type", "host", "path") and value == ""):
        raise ProviderSettingsError(f"{where}: {name!r} is missing")
    good, wanted = _CHECKS[name]
    if not good(value):
        raise ProviderSettingsError(f"{where}: {name!r} must be {wanted}")
