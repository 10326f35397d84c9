"""Show what each replica takes: memory, processor, requests, traffic, data.

On a terminal it goes on until Ctrl-C; elsewhere, and with --json, it shows the figures of two seconds and ends.
"""

from __future__ import annotations

import sys

from hailbox.cli import colour, output
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.output import Invocation
from hailbox.cli.render import table
from hailbox.console.top import ReplicaUsage
from hailbox.console.top import top as follow
from hailbox.model.size import rounded


@command()
def top(context_for: ContextFor, invocation: Invocation) -> CommandOutput:
    figures = follow(context_for())
    if invocation.json or not (sys.stdout.isatty() and colour.able()):
        return CommandOutput(next(figures), _table, essential=True)
    drawn = 0
    for found in figures:
        text = output.plain_text(_table(found))
        output.write_painted(f"\x1b[{drawn}F\x1b[J{text}" if drawn else text)
        drawn = text.count("\n") + 1
    return CommandOutput(None, None)


def _table(found: tuple[ReplicaUsage, ...]) -> str:
    def size(value: float | None) -> str:
        return "-" if value is None else rounded(int(value))

    rows = [
        (
            usage.replica,
            size(usage.memory),
            "-" if usage.processor is None else f"{usage.processor:.0%}",
            "-" if usage.requests is None else f"{usage.requests:.1f}/s",
            "-" if usage.traffic is None else f"{rounded(int(usage.traffic))}/s",
            size(usage.data),
        )
        for usage in found
    ]
    return table(("REPLICA", "MEMORY", "CPU", "REQUESTS", "TRAFFIC", "DATA"), rows)
