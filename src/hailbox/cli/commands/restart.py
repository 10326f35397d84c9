"""Restart the daemons of all or some services; the data stays."""

from __future__ import annotations

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import Services
from hailbox.commands.restart import restart as restart_replicas


@command(changes=True)
def restart(context_for: ContextFor, services: Services = None) -> CommandOutput:
    return CommandOutput(restart_replicas(context_for(), services or ()), render.stack)
