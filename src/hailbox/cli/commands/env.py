"""Print KEY=VALUE lines for `eval "$(hailbox env)"`, direnv or a .env file."""

from __future__ import annotations

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.commands.env import env as variables


@command()
def env(context_for: ContextFor) -> CommandOutput:
    return CommandOutput(variables(context_for()), render.env, essential=True)
