"""The commands that change a stack: up, down, reset, destroy, build."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hailbox.cli.command import Shown, pairs
from hailbox.model.config import PORT_NUMBERS, REPLICA_COUNTS
from hailbox.model.errors import UsageError

Make = Any

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        metavar="NAME",
        help="Which services, and how connected (see: hailbox profiles), or a YAML file.",
    ),
]
Scale = Annotated[
    list[str] | None, typer.Option("--scale", metavar="SERVICE=N", help="How many replicas of a service; repeatable.")
]
Port = Annotated[
    list[str] | None,
    typer.Option("--port", metavar="REPLICA=PORT", help="Insist on a port of this host; repeatable."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List exactly what would be removed, and remove nothing.")]
Services = Annotated[list[str] | None, typer.Argument(metavar="[SERVICE]...", help="Services or replicas.")]


def numbers(scale: list[str] | None, port: list[str] | None) -> dict[str, dict[str, int]]:
    """The choices `scale` and `ports` out of these options. Raises UsageError."""
    return {
        "scale": pairs(scale, "--scale", REPLICA_COUNTS, "chunkd=3"),
        "ports": pairs(port, "--port", PORT_NUMBERS, "tabled=8080"),
    }


Timings = Annotated[bool, typer.Option("--timings", help="Show where the time went, step by step.")]


def up(
    make: Make, profile: Profile = None, scale: Scale = None, port: Port = None, timings: Timings = False
) -> Shown:
    """Bring the stack up, or heal it; returns when every service works."""
    from hailbox.cli import render
    from hailbox.commands.up import up as run

    result = run(make(profile=profile, **numbers(scale, port)))
    return Shown(result, render.stack_with_timings if timings else render.stack)


def down(make: Make) -> Shown:
    """Stop the stack; its data stays."""
    from hailbox.cli import render
    from hailbox.commands.down import down as run

    return Shown(run(make()), render.removal("down"))


To = Annotated[
    str | None, typer.Option("--to", metavar="SNAPSHOT", help="To the data of a snapshot instead of to none.")
]


def reset(
    make: Make, services: Services = None, to: To = None, dry_run: DryRun = False, timings: Timings = False
) -> Shown:
    """Discard the data, of all services or of some, and bring the stack up again."""
    from hailbox.cli import render
    from hailbox.commands.reset import reset as run

    if to is not None:
        from hailbox.cli.snapshot import restore

        if services:
            raise UsageError("a snapshot is of all services", "leave the services out, or leave --to out")
        return restore(make, to, dry_run, timings)
    result = run(make(), services or (), dry_run=dry_run)
    return Shown(result, render.reset_with_timings if timings else render.reset)


Images = Annotated[bool, typer.Option("--images", help="Remove the images that hailbox made, too.")]


def destroy(make: Make, dry_run: DryRun = False, images: Images = False) -> Shown:
    """Remove everything of the stack: containers, data, network."""
    from hailbox.cli import render
    from hailbox.commands.down import destroy as run

    return Shown(run(make(), dry_run=dry_run, images=images), render.removal("destroy"))


def build(make: Make, profile: Profile = None) -> Shown:
    """Build the images that are missing or whose source has changed."""
    from hailbox.cli import render
    from hailbox.commands.build import build as run

    return Shown(run(make(profile=profile)), render.build)
