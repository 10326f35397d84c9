"""Bring the stack up, or heal it; returns when every service works."""

from __future__ import annotations

from typing import Annotated

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import ImagesFrom, Port, Profile, Scale, Timings, Without, left_out, numbers
from hailbox.commands.up import up as bring_up

DryRun = Annotated[bool, typer.Option("--dry-run", help="List what would be built, made or changed, and do nothing.")]


@command(changes=True)
def up(
    context_for: ContextFor,
    profile: Profile = None,
    scale: Scale = None,
    port: Port = None,
    without: Without = None,
    images_from: ImagesFrom = None,
    timings: Timings = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    context = context_for(profile=profile, images_from=images_from, without=left_out(without), **numbers(scale, port))
    if dry_run:
        from hailbox.commands.preview import preview  # few ask for it

        return CommandOutput(preview(context), render.preview, essential=True)
    result = bring_up(context)
    return CommandOutput(result, render.stack_with_timings if timings else render.stack)
