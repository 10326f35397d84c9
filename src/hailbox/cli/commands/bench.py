"""Measure how fast the services of the stack are.

Locks taken and given back in cld, objects stored and read in chunkd, tabled and iwhd, each through its own
protocol, on every connection one operation after the other. What it stores it removes at its end; when it was
ended early, at its next run. It changes nothing else.

The client is this program, on this machine: CLIENT is the share of a processor core that it takes. Near 100 % it
is the client that limits the figure.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hailbox.bench.measure import LARGEST, BenchResult, Load, measure
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.render import table
from hailbox.model.size import parse

Services = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SERVICE]...", help="Services or replicas (default: one of each service)."),
]
Connections = Annotated[
    list[int] | None,
    typer.Option("--connections", "-c", min=1, max=256, metavar="N", help="Repeatable [default: 1 and 16]."),
]
Seconds = Annotated[
    float, typer.Option("--seconds", min=0.1, max=600, metavar="S", help="How long to measure for each figure.")
]
Size = Annotated[
    list[str] | None, typer.Option("--size", metavar="SIZE", help="Of objects; repeatable [default: 4KiB and 16MiB].")
]


@command()
def bench(
    context_for: ContextFor,
    services: Services = None,
    connections: Connections = None,
    seconds: Seconds = 1.0,
    size: Size = None,
) -> CommandOutput:
    default = Load(seconds=seconds)
    load = Load(
        connections=sorted(set(connections or default.connections)),
        seconds=seconds,
        sizes=[parse(each, LARGEST) for each in dict.fromkeys(size)] if size else default.sizes,
    )
    return CommandOutput(measure(context_for(), services or (), load), _table, essential=True)


def _table(result: BenchResult) -> str:
    rows = [
        (
            figure.replica,
            figure.operation,
            str(figure.connections),
            f"{figure.per_second:,.0f}" if figure.per_second >= 100 else f"{figure.per_second:.1f}",
            f"{figure.bytes_per_second / (1 << 20):,.1f}" if figure.bytes_per_second else "",
            f"{figure.median * 1000:.2f}",
            f"{figure.slowest_percent * 1000:.2f}",
            f"{figure.client_share:.0%}",
        )
        for figure in result.figures
    ]
    header = ("REPLICA", "OPERATION", "CONNECTIONS", "PER SECOND", "MIB/S", "MEDIAN MS", "99 % WITHIN MS", "CLIENT")
    return table(header, rows)
