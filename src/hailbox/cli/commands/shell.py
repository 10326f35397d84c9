"""Talk to cld or chunkd, or open a shell in a container.

`hailbox shell cld` and `hailbox shell chunkd` are clients in the manner of cldcli and chcli, with the stack's own
address and credentials; `help` lists their commands. These come from the terminal, from standard input (then the exit
status tells whether one failed), or are one, given here: hailbox shell cld ls /. Put -- before a word that begins
with a hyphen. A lock is held while the shell runs. Ctrl-C ends a command that waits; at the prompt it leaves, like
Ctrl-D.

`hailbox shell REPLICA` runs /bin/sh in that replica's container, through the docker client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hailbox.cli.attach import attach
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.output import Invocation
from hailbox.cli.repl import Conversation
from hailbox.model.errors import UsageError
from hailbox.shell import connect
from hailbox.shell.interpreter import CommandError, Interpreter, Tell
from hailbox.stack.endpoint import access

Target = Annotated[
    str,
    typer.Argument(
        metavar="cld|chunkd|REPLICA",
        help="cld or chunkd: a client of it. A replica, such as tabled-1 or cld-1: /bin/sh in its container.",
    ),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[COMMAND]...", help="One command for cld or chunkd, in place of a conversation."),
]
Replica = Annotated[
    str | None, typer.Option("--replica", "-r", metavar="NAME", help="Which chunkd (default: the first).")
]
Table = Annotated[str | None, typer.Option("--table", "-t", metavar="TABLE", help="chunkd: open this table.")]
Create = Annotated[bool, typer.Option("--create", help="chunkd: make the table if it is not there.")]
Exact = Annotated[
    bool,
    typer.Option("--exact", help=r"chunkd: put no NUL byte after keys and the table's name; \xNN in them is a byte."),
]
Udp = Annotated[bool, typer.Option("--udp", help="cld: talk over UDP.")]
StopOnError = Annotated[bool, typer.Option("--stop-on-error", "-e", help="End a script at its first failure.")]


@command()
def shell(
    context_for: ContextFor,
    invocation: Invocation,
    target: Target,
    words: Words = None,
    replica: Replica = None,
    table: Table = None,
    create: Create = False,
    exact: Exact = False,
    udp: Udp = False,
    stop_on_error: StopOnError = False,
) -> CommandOutput:
    if target not in ("cld", "chunkd"):
        return _shell_in_container(
            context_for, invocation, target, words, options=(replica, table, create, exact, udp)
        )
    _check_options(target, {"--table": table, "--create": create, "--exact": exact}, {"--udp": udp})
    context = context_for()
    found = access(context, target, replica)
    conversation = Conversation(invocation, target, found.replica)
    if conversation.interactive and invocation.json and not words:
        raise UsageError(
            "--json is not for a terminal", f"give one command, or a script: hailbox shell {target} <FILE"
        )

    def interpreter(tell: Tell) -> Interpreter:
        if target == "cld":
            return connect.cld(found, tell, reconnect=conversation.interactive and not words, udp=udp)
        try:
            return connect.chunkd(found, table=table, create=create, exact=exact)
        except CommandError as error:
            raise UsageError(f"--table {table!r}: {error}", "choose another name") from error

    return conversation.hold(interpreter, words, stop_on_error=stop_on_error)


def _check_options(target: str, chunkd_only: dict[str, Any], cld_only: dict[str, Any]) -> None:
    for option, value in (cld_only if target == "chunkd" else chunkd_only).items():
        if value:
            other = "cld" if target == "chunkd" else "chunkd"
            raise UsageError(f"{option} is for {other}", f"leave it out, or say: hailbox shell {other} {option}")
    if chunkd_only.get("--create") and not chunkd_only.get("--table"):
        raise UsageError("--create is given without a table", "name it, too: --table TABLE")


def _shell_in_container(
    context_for: ContextFor,
    invocation: Invocation,
    target: str,
    words: list[str] | None,
    *,
    options: Sequence[object],
) -> CommandOutput:
    if any(options):
        raise UsageError(f"that option is for cld or chunkd, not for a container such as {target}", "leave it out")
    if words or invocation.json:
        raise UsageError(
            f"hailbox shell {target} is for a conversation", f"run one command with: hailbox exec {target} COMMAND"
        )
    return attach(context_for, target, ["/bin/sh"])
