"""What may follow on a command line: `hailbox __complete WORD...`, where the last word is the one to complete."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hailbox import resources
from hailbox.completion import commands, present
from hailbox.model import names

Candidates = Callable[[str], list[str]]
"""The words to choose from, for a stack."""


def _profiles(_stack: str) -> list[str]:
    return sorted(path.stem for path in (resources.directory("compose") / "profiles").glob("*.yaml"))


def _fixed(*words: str) -> Candidates:
    return lambda _stack: list(words)


def _faulty(stack: str) -> list[str]:
    return sorted({*present.faults(stack), *present.replicas(stack)})


_VALUES: Final[dict[str, Candidates]] = {
    "--stack": lambda _stack: present.stacks(),
    "-s": lambda _stack: present.stacks(),
    "--profile": _profiles,
    "-p": _profiles,
    "--to": present.snapshots,
    "--for": present.replicas,
    "--progress": _fixed("auto", "plain", "json", "none"),
}
"""By option, what its value may be."""
_ARGUMENTS: Final[dict[str, Candidates]] = {
    **dict.fromkeys(("reset", "restart", "logs", "bench", "exec", "trace"), present.replicas),
    "open": _fixed("iwhd", "tabled"),
    "shell": present.replicas,
    "completion": _fixed("bash", "zsh", "fish"),
    **dict.fromkeys(("snapshot restore", "snapshot rm", "snapshot export"), present.snapshots),
    "fault clear": _faulty,
}
"""By command, what its arguments may be."""


def complete(words: Sequence[str]) -> list[str]:
    """The words that may stand in the place of the last one of `words`, which follow `hailbox`."""
    *before, word = words or [""]
    plain = _arguments(before)
    command = plain[0] if plain else ""
    stack = _stack(before)
    previous = before[-1] if before else ""
    if command == "fault" and previous == "--for":  # a duration
        found = []
    elif previous in _VALUES:
        found = _VALUES[previous](stack)
    elif word.startswith("-"):
        found = commands.options(command)
    elif not plain:
        found = commands.commands()
    elif len(plain) == 1 and (group := commands.subcommands(command)):
        found = group
    else:
        found = _argument(plain)(stack)
    return [each for each in found if each.startswith(word)]


def _argument(plain: Sequence[str]) -> Candidates:
    whole = " ".join(plain[:2])
    default = present.replicas if plain[0] == "fault" and plain[1] != "ls" else _fixed()
    return _ARGUMENTS.get(whole) or _ARGUMENTS.get(plain[0]) or default


def _arguments(words: Sequence[str]) -> list[str]:
    """The words that are neither options nor the values of those that we know."""
    found, value = [], False
    for word in words:
        if value:
            value = False
        elif word.startswith("-"):
            value = word in _VALUES
        else:
            found.append(word)
    return found


def _stack(words: Sequence[str]) -> str:
    """The stack that the command is about."""
    for option, value in itertools.pairwise(words):
        if option in ("-s", "--stack"):
            return value
    if named := os.environ.get("HAILBOX_STACK"):
        return named
    here = Path.cwd()
    for folder in (here, *here.parents):
        for name in ("hailbox.override.yaml", "hailbox.yaml"):
            try:
                text = (folder / name).read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue
            if match := re.search(rf"^stack: *[\"']?({names.STACK_NAME})[\"']? *(?:#.*)?$", text, re.MULTILINE):
                return match[1]
        if (folder / "hailbox.yaml").exists():
            break
    return names.DEFAULT_STACK


def main(words: Sequence[str]) -> int:
    """Print what `complete` finds, a line each. A shell cannot use an error, so there is none."""
    try:
        found = complete(words)
    except OSError:
        found = []
    sys.stdout.write("".join(f"{word}\n" for word in found))
    return 0
