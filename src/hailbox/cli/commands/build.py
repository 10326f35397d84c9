"""Build the images that are missing or whose source has changed."""

from __future__ import annotations

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import Profile
from hailbox.commands.build import build as build_images


@command()
def build(context_for: ContextFor, profile: Profile = None) -> CommandOutput:
    return CommandOutput(build_images(context_for(profile=profile)), render.build)
