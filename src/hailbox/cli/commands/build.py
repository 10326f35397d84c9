"""Build the images that are missing or whose source has changed.

With --push they go to a registry, from which other machines have them: `hailbox up --images-from PREFIX`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import ImagesFrom, Profile
from hailbox.commands.build import build as build_images

Push = Annotated[
    str | None,
    typer.Option("--push", metavar="PREFIX", help="Push our images there, such as registry.example/team/hailbox."),
]


@command()
def build(
    context_for: ContextFor, profile: Profile = None, push: Push = None, images_from: ImagesFrom = None
) -> CommandOutput:
    context = context_for(profile=profile, images_from=images_from)
    return CommandOutput(build_images(context, push=push), render.build)
