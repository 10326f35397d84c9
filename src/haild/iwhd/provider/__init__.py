"""Where bodies are kept: one module per back end in `backend`, one interface (haild.iwhd.provider.base).

The back end of the types `T` and `T-SOMETHING` is the Provider in the module `backend.T` that names them. To add a
back end, add that module: no list of types exists anywhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from haild.iwhd.provider import backend

if TYPE_CHECKING:
    from haild.iwhd.provider.base import Provider
    from haild.iwhd.settings import ProviderSettings


def _modules() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(backend.__path__))


def _back_ends(module: str) -> Iterator[type[Provider]]:
    from haild.iwhd.provider.base import Provider

    name = f"{backend.__name__}.{module}"
    for each in vars(importlib.import_module(name)).values():
        if isinstance(each, type) and issubclass(each, Provider) and each.__module__ == name:
            yield each


def back_end(kind: str) -> type[Provider] | None:
    """The class for a type of provider, None for an unknown type. Imported on first use, since imports are slow."""
    module = kind.partition("-")[0]
    if module not in _modules():
        return None
    return next((each for each in _back_ends(module) if kind in each.types), None)


def types() -> list[str]:
    """All types of providers."""
    return [kind for module in _modules() for each in _back_ends(module) for kind in each.types]


def create(settings: ProviderSettings, spool: Path) -> Provider:
    """The provider that `settings` describe. Raises ProviderSettingsError.

    `spool`: a directory of the daemon, beside its metadata, for bodies whose length is not known yet.
    """
    found = back_end(settings.type)
    if found is None:
        raise ValueError(f"no back end for type {settings.type!r}")
    return found(settings, spool)
