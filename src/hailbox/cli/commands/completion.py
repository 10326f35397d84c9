"""Print what a shell needs to complete commands: eval "$(hailbox completion bash)".

It completes commands, options, services, replicas, profiles, stacks, snapshots and faults. For zsh the same line
does; for fish: hailbox completion fish | source.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.completion.scripts import SCRIPTS


class Shell(StrEnum):
    """The shells that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


Which = Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]


@command(about_stack=False)
def completion(_context_for: ContextFor, shell: Which) -> CommandOutput:
    script = SCRIPTS[shell.value]
    return CommandOutput({"shell": shell.value, "script": script}, lambda _data: script.rstrip("\n"), essential=True)
