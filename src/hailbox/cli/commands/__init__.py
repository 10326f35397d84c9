"""The commands of the program: a file for each, named for it, which is loaded when it is called.

The first line of a file is the command's line in `hailbox --help`, and its docstring is the command's own help. Each
has a function of its name under `@command(…)`, or a typer application `app` where it is a group of commands.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

_FIRST: Final = ("up", "down", "reset", "destroy", "status", "wait", "logs", "env", "ls")
"""Shown before all others, which follow by name."""


def names() -> list[str]:
    """All commands, in the order in which the help shows them."""
    found = {path.stem for path in Path(__file__).parent.glob("[a-z]*.py")}
    return [name for name in _FIRST if name in found] + sorted(found.difference(_FIRST))


def summary(name: str) -> str:
    """What a command does, in a line; it is not loaded for that."""
    with Path(__file__).with_name(f"{name}.py").open(encoding="utf-8") as source:
        return source.readline().strip().strip('"')


def load(name: str) -> Any:
    """The module of a command."""
    return importlib.import_module(f"{__name__}.{name}")
