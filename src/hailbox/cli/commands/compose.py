"""Print the Compose file of the stack; Compose alone can run it."""

from __future__ import annotations

from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import Port, Profile, Scale, numbers
from hailbox.commands.build import compose as compose_file


@command()
def compose(
    context_for: ContextFor, profile: Profile = None, scale: Scale = None, port: Port = None
) -> CommandOutput:
    text = compose_file(context_for(profile=profile, **numbers(scale, port)))
    return CommandOutput(text, str.rstrip, essential=True)
