"""Show the requests between the services as they happen, decoded.

A line for each request that ends: when, who asked whom, the operation by its standard name, status, bytes of its body
and of the answer's, milliseconds, the id that all requests share which follow from one, bucket and key. Nothing is
restarted, and daemons tell of their requests only while a trace runs. It ends with Ctrl-C, or by --for.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated

import typer

import hailbox
from hailbox.cli import interruption, output
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import Services
from hailbox.cli.output import Invocation
from hailbox.fault import duration as durations
from hailbox.model.errors import UsageError
from hailbox.trace import har as archives
from hailbox.trace import waterfall
from hailbox.trace.exchange import Exchange, Filter
from hailbox.trace.follow import Tracer

Object = Annotated[
    str | None,
    typer.Option("--follow-object", metavar="BUCKET/KEY", help="Only what touches it, each as a waterfall."),
]
Bucket = Annotated[str | None, typer.Option("--bucket", metavar="NAME", help="Only requests about this bucket.")]
Status = Annotated[str | None, typer.Option("--status", metavar="STATUS", help="Only these: 404, 5xx, NO_SUCH_KEY.")]
Slower = Annotated[
    str | None, typer.Option("--slower", metavar="DURATION", help="Only what took at least that long: 100ms.")
]
For = Annotated[str | None, typer.Option("--for", metavar="DURATION", help="End by itself after: 10s, 2m.")]
Har = Annotated[
    Path | None, typer.Option("--har", metavar="FILE", help="At the end write those over HTTP to an HTTP Archive.")
]


@command()
def trace(
    context_for: ContextFor,
    invocation: Invocation,
    services: Services = None,
    follow_object: Object = None,
    bucket: Bucket = None,
    status: Status = None,
    slower: Slower = None,
    duration: For = None,
    har: Har = None,
) -> CommandOutput:
    context = context_for()
    wanted = Filter(bucket or "", status or "", durations.seconds(slower, "--slower") if slower else 0.0)
    seconds = durations.seconds(duration, "--for") if duration else None
    followed = _followed(follow_object)
    invocation.by_line = True
    kept: list[Exchange] = []
    tracer = Tracer(context, services or ())
    if har is not None:
        _write_archive(har, [])  # a file that cannot be written is told now, not after hours
    interruption.raise_instead()
    try:
        for found in tracer.turns(seconds):
            kept += [each for each in found if har is not None and wanted.passes(each)]
            if followed is not None:
                _follow(invocation, followed, found, time.monotonic())
            elif passing := [each for each in found if wanted.passes(each)]:
                _show(invocation, passing)
    except KeyboardInterrupt:
        interruption.ignore()
    if followed is not None:
        _follow(invocation, followed, [], float("inf"))
    if har is not None:
        _write_archive(har, kept)
    return CommandOutput(None, None)


def _follow(invocation: Invocation, followed: waterfall.Followed, found: list[Exchange], now: float) -> None:
    for each in found:
        followed.take(each, now)
    for complete in followed.complete(now):
        _show(invocation, complete, as_waterfall=True)


def _followed(text: str | None) -> waterfall.Followed | None:
    if text is None:
        return None
    bucket, slash, key = text.partition("/")
    if not (bucket and slash and key):
        raise UsageError(
            f"--follow-object {text!r} is not BUCKET/KEY", "write for example: --follow-object images/debian12"
        )
    return waterfall.Followed(bucket, key)


def _show(invocation: Invocation, exchanges: list[Exchange], *, as_waterfall: bool = False) -> None:
    if invocation.json:
        for each in exchanges:
            output.write_json_line(dataclasses.asdict(each))
    elif as_waterfall:
        output.write("\n".join(waterfall.lines(exchanges)))
    else:
        output.write("\n".join(map(line, exchanges)))


def line(found: Exchange) -> str:
    """An exchange as a line of text."""
    clock = time.strftime("%H:%M:%S", time.localtime(found.time)) + f"{found.time % 1:.3f}"[1:]
    took = f"{found.seconds * 1000:.2f} ms" if found.seconds is not None else "–"
    asked = f"{found.source} → {found.replica}"
    return (
        f"{clock}  {asked:<22} {found.operation:<20} {found.status:<11} {found.received:>9} {found.sent:>9} "
        f"{took:>11}  {found.trace[:8]:<8}  {found.place}"
    )


def _write_archive(file: Path, exchanges: list[Exchange]) -> None:
    try:
        file.write_text(json.dumps(archives.archive(exchanges, hailbox.__version__), indent=1), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}", "name another file: --har FILE") from error
