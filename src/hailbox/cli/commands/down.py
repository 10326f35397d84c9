"""Stop the stack; its data stays."""

from __future__ import annotations

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.commands.down import down as take_down


@command(changes=True)
def down(context_for: ContextFor) -> CommandOutput:
    return CommandOutput(take_down(context_for()), render.removal("down"))
