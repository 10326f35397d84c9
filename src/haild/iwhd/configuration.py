"""Configuration of iwhd: a JSON array of providers, the first of them the primary (iwhd.md section 3).

Ours in addition: a JSON object with that array as `providers` and the rules of haild.iwhd.access as `access`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from haild.iwhd import provider
from haild.iwhd.access import FILE_NAME, Access, AccessError
from haild.iwhd.access import parse as parse_access
from haild.iwhd.settings import RESERVED_KEYS, ProviderSettings, ProviderSettingsError

logger = logging.getLogger(__name__)

MAXIMUM_SIZE: Final = 1 << 20
"""Bytes of a configuration file."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The providers, at least one, the primary first; and who may use the warehouse."""

    providers: tuple[ProviderSettings, ...]
    access: Access = field(default_factory=Access)


def parse(text: bytes) -> Configuration:
    """The meaning of a configuration. Raises ProviderSettingsError, for syntax with the line."""
    document = _json(text)
    access = Access()
    if isinstance(document, dict):
        if unknown := sorted(set(document) - {"providers", "access"}):
            raise ProviderSettingsError(f"unknown key {unknown[0]!r}; known are 'access' and 'providers'")
        access = parse_access(document.get("access", {}), "access")
        document = document.get("providers")
    if not isinstance(document, list):
        raise ProviderSettingsError("the configuration must be a JSON array of providers")
    if not document:
        raise ProviderSettingsError("no provider is configured: the array is empty")
    providers = tuple(_provider(index, entry) for index, entry in enumerate(document))
    names = [each.name for each in providers]
    for name in names:
        if names.count(name) > 1:
            raise ProviderSettingsError(f"two providers are called {name!r}")
    return Configuration(providers, access)


def _json(text: bytes) -> object:
    if len(text) > MAXIMUM_SIZE:
        raise ProviderSettingsError(f"{len(text)} bytes are more than a configuration may have ({MAXIMUM_SIZE})")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ProviderSettingsError(f"line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise ProviderSettingsError(f"not JSON: {error}") from error


def load(path: Path) -> Configuration:
    """The configuration in the file at `path`; its rules of access joined with those of the `access.json` beside it.

    Raises ProviderSettingsError, also where a file cannot be read.
    """
    configuration = parse(_read(path))
    beside = path.with_name(FILE_NAME)
    if beside == path or not beside.exists():
        return configuration
    try:
        more = parse_access(_json(_read(beside)), "access")
        return replace(configuration, access=configuration.access.joined(more))
    except ProviderSettingsError as error:
        raise AccessError(f"{beside}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
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
    return replace(from_values(where, known, attributes, needed=("name", "type")), configured=True)


def from_values(
    where: str, known: Mapping[str, object], attributes: Mapping[str, str], *, needed: tuple[str, ...]
) -> ProviderSettings:
    """Settings from the reserved keys in `known` (a port is an int) and the others; checks both.

    `where` begins the text of the ProviderSettingsError that is raised for a missing or ill-typed key.
    """
    for name in needed:
        _check(where, name, known.get(name))
    kind = str(known["type"]).lower()
    back_end = provider.back_end(kind)
    if back_end is None:
        raise ProviderSettingsError(f"{where}: type {kind!r} is none of {', '.join(provider.types())}")
    for name in back_end.needs:
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
