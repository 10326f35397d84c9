"""Open a service that speaks HTTP in the browser, or print its address where there is none."""

from __future__ import annotations

import sys
import webbrowser
from typing import Annotated

import typer

from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.commands.open import address

Service = Annotated[str, typer.Argument(metavar="[SERVICE]", help="A service or replica; iwhd if none is named.")]


@command()
def open(context_for: ContextFor, service: Service = "iwhd") -> CommandOutput:
    url = address(context_for(), service)
    opened = sys.stdout.isatty() and webbrowser.open(url)
    return CommandOutput({"url": url, "opened": opened}, lambda data: str(data["url"]), essential=True)
