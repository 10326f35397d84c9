"""The targets: modules in `targets/`, and the inputs kept for each; see README.md."""

from __future__ import annotations

import importlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, cast

FOLDER = Path(__file__).parent


class Target(Protocol):
    """What a module in `targets/` has; `TOKENS` may be missing."""

    TOKENS: Sequence[bytes]

    def fuzz(self, data: bytes) -> None: ...

    def seeds(self) -> Iterable[bytes]: ...


def names() -> list[str]:
    """Every target."""
    return sorted(path.stem for path in (FOLDER / "targets").glob("[a-z]*.py"))


def load(name: str) -> Target:
    """Import a target; a name with a dot is that of a module elsewhere."""
    return cast(Target, importlib.import_module(name if "." in name else f"fuzz.targets.{name}"))


def _corpus(name: str) -> Path:
    return FOLDER / "corpus" / f"{name}.txt"


def to_line(data: bytes) -> str:
    """An input as a line of a corpus."""
    return b64encode(data).decode() or "="


def read_corpus(name: str) -> list[bytes]:
    """The inputs kept for a target."""
    path = _corpus(name)
    lines = path.read_text().split() if path.exists() else []
    return [b64decode(line) if line != "=" else b"" for line in lines]


def write_corpus(name: str, inputs: Iterable[bytes]) -> None:
    """Keep these inputs, the short ones first, so that changes are easy to see."""
    lines = [to_line(data) for data in sorted(set(inputs), key=lambda data: (len(data), data))]
    _corpus(name).write_text("".join(f"{line}\n" for line in lines))
