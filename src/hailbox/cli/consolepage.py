"""The console as a command, which has two names."""

from __future__ import annotations

import asyncio
import threading
import webbrowser
from typing import Annotated

import typer

from hailbox.cli import interruption, output
from hailbox.cli.command import CommandOutput, ContextFor
from hailbox.cli.output import Invocation
from hailbox.model.errors import PortTakenError

NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Print the address only.")]
ListenPort = Annotated[
    int, typer.Option("--listen-port", min=0, max=65535, metavar="PORT", help="Of 127.0.0.1; 0: any that is free.")
]


def show(context_for: ContextFor, invocation: Invocation, no_browser: bool, listen_port: int) -> CommandOutput:
    """Serve the console until Ctrl-C. Raises PortTakenError, and UsageError for what cannot name a stack."""
    from hailbox.console.server import serve  # its libraries take 0.2 s to load

    context = context_for()
    invocation.by_line = True

    def ready(url: str) -> None:
        if invocation.json:
            output.write_json_line({"url": url})
        else:
            output.write(f"{url}\nThe console of stack {context.stack}, until Ctrl-C.")
        if not no_browser:
            # Some browsers are programs of the terminal, which end when their user wants it.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    interruption.raise_instead()
    try:
        asyncio.run(serve(context, ready, listen_port))
    except KeyboardInterrupt:
        interruption.ignore()  # the pages are told, which takes a moment
    except OSError as error:
        raise PortTakenError(
            f"port {listen_port} of 127.0.0.1 cannot be had: {error.strerror or error}",
            f"take any that is free: hailbox --stack {context.stack} ui",
        ) from error
    return CommandOutput(None, None)
