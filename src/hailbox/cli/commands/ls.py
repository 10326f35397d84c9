"""List all stacks on the engine."""

from __future__ import annotations

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.commands.ls import ls as stacks


@command(about_stack=False)
def ls(context_for: ContextFor) -> CommandOutput:
    return CommandOutput(stacks(context_for().engine), render.stacks, essential=True)
