"""Print the choices in force, and where each comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command, load_file
from hailbox.cli.output import Invocation
from hailbox.commands.config import Setting, settings
from hailbox.model.config import Config
from hailbox.model.schema import schema as schema_of

Schema = Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of hailbox.yaml.")]


@command()
def config(context_for: ContextFor, invocation: Invocation, schema: Schema = False) -> CommandOutput:
    if schema:
        described = schema_of(Config, "hailbox.yaml")
        return CommandOutput(described, lambda data: json.dumps(data, indent=2), essential=True)
    context = context_for()
    loaded = load_file(invocation.file)
    given = {}
    if os.environ.get("HAILBOX_STACK") == context.stack:
        given["stack"] = "HAILBOX_STACK"
    elif context.stack != loaded.config.stack:
        given["stack"] = "--stack"
    return CommandOutput(settings(context, loaded, given), _shown, essential=True)


def _shown(found: Sequence[Setting]) -> str:
    def text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    return render.table(("KEY", "VALUE", "FROM"), [(entry.key, text(entry.value), entry.origin) for entry in found])
