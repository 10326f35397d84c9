"""Bring the stack up, or heal it; returns when every service works."""

from __future__ import annotations

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import Port, Profile, Scale, Timings, numbers
from hailbox.commands.up import up as bring_up


@command(changes=True)
def up(
    context_for: ContextFor, profile: Profile = None, scale: Scale = None, port: Port = None, timings: Timings = False
) -> CommandOutput:
    result = bring_up(context_for(profile=profile, **numbers(scale, port)))
    return CommandOutput(result, render.stack_with_timings if timings else render.stack)
