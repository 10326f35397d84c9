"""Which commands and options there are, read from the text of the files that define them: to load them takes longer.

A test compares what is found here with the program itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_CLI: Final = Path(__file__).parents[1] / "cli"
_LONG: Final = re.compile(r'"(--[a-z][a-z-]+)"')
_SUBCOMMAND: Final = re.compile(r'^@command\(app(?:, [a-z_=A-Z]+)*(?:, name="([a-z-]+)")?\)\ndef (\w+)', re.MULTILINE)
_SHARED: Final = re.compile(r"^from hailbox\.cli\.(options|consolepage) import (\([^)]*\)|.+)$", re.MULTILINE)
_COMMON: Final = ("--stack", "--file", "--json", "--quiet", "--debug", "--progress", "--help")


def commands() -> list[str]:
    """All commands."""
    return sorted(path.stem for path in (_CLI / "commands").glob("[a-z]*.py"))


def _source(command: str) -> str:
    try:
        return (_CLI / "commands" / f"{command}.py").read_text(encoding="utf-8")
    except OSError:
        return ""


def subcommands(command: str) -> list[str]:
    """The commands of a group; none of a command that is no group."""
    found = _SUBCOMMAND.findall(_source(command))
    return sorted(name or function.replace("_", "-") for name, function in found)


def options(command: str) -> list[str]:
    """The long options of a command."""
    source = _source(command)
    found = {*_COMMON, *_LONG.findall(source)}
    for module, imported in _SHARED.findall(source):
        shared = (_CLI / f"{module}.py").read_text(encoding="utf-8")
        for name in re.findall(r"\w+", imported):
            definition = re.search(rf"^{name} = Annotated\[(.*?)\n(?=\S)", f"{shared}\n#", re.MULTILINE | re.DOTALL)
            found |= set(_LONG.findall(definition[1])) if definition else set()
    return sorted(found)
