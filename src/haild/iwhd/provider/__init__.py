"""Where bodies are kept: one file per back end, one interface (haild.iwhd.provider.base)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from haild.iwhd.provider.base import Provider
from haild.iwhd.settings import ProviderSettings


def _fs(settings: ProviderSettings, spool: Path) -> Provider:
    from haild.iwhd.provider.fs import FileProvider

    return FileProvider(settings, spool)


def _s3(settings: ProviderSettings, spool: Path) -> Provider:
    from haild.iwhd.provider.s3 import S3Provider

    return S3Provider(settings, spool)


def _http(settings: ProviderSettings, _spool: Path) -> Provider:
    from haild.iwhd.provider.http import WarehouseProvider

    return WarehouseProvider(settings)


def _cf(settings: ProviderSettings, _spool: Path) -> Provider:
    from haild.iwhd.provider.cf import SwiftProvider

    return SwiftProvider(settings)


_MAKERS: Final[Mapping[str, Callable[[ProviderSettings, Path], Provider]]] = {
    "fs": _fs,
    "fs-rhev-m": _fs,
    "fs-condor": _fs,
    "fs-vmw": _fs,
    "s3": _s3,
    "http": _http,
    "cf": _cf,
}
"""How each type of provider is made. Back ends are imported when they are used: they are not small."""


def make(settings: ProviderSettings, spool: Path) -> Provider:
    """The provider that `settings` describe.

    `spool` is a directory of the daemon, beside its metadata, for bodies whose length is not known yet.
    """
    return _MAKERS[settings.type](settings, spool)
