"""Where the files that ship with hailbox are: the definitions of stacks and images, and the daemons' source."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parent
_CHECKOUT: Final = _PACKAGE.parent.parent


def directory(name: str) -> Path:
    """The folder `compose` or `images`: package data of an installed wheel, else at the top of a checkout."""
    packaged = _PACKAGE / "data" / name
    return packaged if packaged.is_dir() else _CHECKOUT / name


def daemons() -> Path:
    """The folder of the package `haild`, found without importing it."""
    spec = importlib.util.find_spec("haild")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package haild is not installed beside hailbox")
    return Path(spec.submodule_search_locations[0])
