"""Print the choices in force, and where each comes from; or the configuration of a daemon on this machine.

`hailbox config iwhd` prints the file with which an iwhd that you run yourself takes part in the stack, secrets
included; --write DIRECTORY writes all that it needs, and prints its command line. `hailbox up --without iwhd` leaves
the stack's own one out.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command, load_file
from hailbox.cli.output import Invocation
from hailbox.commands import hostdaemon
from hailbox.commands.config import Setting, settings
from hailbox.commands.hostdaemon import HostDaemon
from hailbox.model.config import Config
from hailbox.model.errors import UsageError
from hailbox.model.schema import schema as schema_of

Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of hailbox.yaml.")]


Service = Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="cld, chunkd, tabled or iwhd.")]
Write = Annotated[
    Path | None,
    typer.Option("--write", metavar="DIRECTORY", help="Write the daemon's files there, and print how to run it."),
]


@command()
def config(
    context_for: ContextFor,
    invocation: Invocation,
    service: Service = None,
    schema: Schema = False,
    write: Write = None,
) -> CommandOutput:
    if schema:
        described = schema_of(Config, "hailbox.yaml")
        return CommandOutput(described, lambda data: json.dumps(data, indent=2), essential=True)
    if service is not None:
        return _daemon(hostdaemon.configuration(context_for(), service), write)
    if write is not None:
        raise UsageError(
            "--write is for the files of one daemon", "name its service: hailbox config iwhd --write DIRECTORY"
        )
    context = context_for()
    loaded = load_file(invocation.file)
    given = {}
    if os.environ.get("HAILBOX_STACK") == context.stack:
        given["stack"] = "HAILBOX_STACK"
    elif context.stack != loaded.config.stack:
        given["stack"] = "--stack"
    return CommandOutput(settings(context, loaded, given), _shown, essential=True)


def _daemon(found: HostDaemon, directory: Path | None) -> CommandOutput:
    if directory is None:
        return CommandOutput(found.at("."), _main_file, essential=True)
    placed = found.at(str(directory))
    hostdaemon.write(placed, directory)
    return CommandOutput(placed, _how_to_run, essential=True)


def _main_file(found: HostDaemon) -> str:
    return found.files[found.main].rstrip() if found.main else shlex.join(found.command)


def _how_to_run(found: HostDaemon) -> str:
    hosts = "".join(f"\n  {address}  {name}" for name, address in found.hosts.items())
    known = f"\nNodes publish names that this machine does not know; in /etc/hosts:{hosts}" if hosts else ""
    return f"run it with: {shlex.join(found.command)}{known if found.service == 'tabled' else ''}"


def _shown(found: Sequence[Setting]) -> str:
    def text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    return render.table(("KEY", "VALUE", "FROM"), [(entry.key, text(entry.value), entry.origin) for entry in found])
