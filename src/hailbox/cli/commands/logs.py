"""Print what the services logged, merged in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from hailbox.cli import output
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import Services
from hailbox.commands.logs import LogLine
from hailbox.commands.logs import logs as read

Tail = Annotated[
    int | None, typer.Option("--tail", "-n", min=0, metavar="N", help="Only the last N lines of each replica.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on printing as lines come.")]


@command()
def logs(
    context_for: ContextFor, services: Services = None, tail: Tail = None, follow: Follow = False
) -> CommandOutput:
    entries = read(context_for(), services or (), tail=tail, follow=follow)
    if follow:
        for entry in entries:
            output.write(_line(entry))
        return CommandOutput(None, None)
    collected = list(entries)
    return CommandOutput(collected, _lines if collected else None, essential=True)


def _line(entry: LogLine) -> str:
    return f"{entry.time[:23]}Z  {entry.replica:<12} {entry.text}"


def _lines(entries: Sequence[LogLine]) -> str:
    return "\n".join(map(_line, entries))
