"""List the profiles: which services there are, and how they are connected."""

from __future__ import annotations

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.stack.definitions import load_catalog


@command(about_stack=False)
def profiles(_context_for: ContextFor) -> CommandOutput:
    return CommandOutput(list(load_catalog().profiles.values()), render.profiles, essential=True)
