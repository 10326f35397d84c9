"""`connect`: keep a stack's ports reachable from this machine while its engine is on another."""

from __future__ import annotations

from dataclasses import dataclass

from hailbox.commands.result import endpoints
from hailbox.context import Context
from hailbox.model.errors import EngineUnreachableError
from hailbox.observe import present


@dataclass(frozen=True)
class Connection:
    """A stack, and where it is reached from this machine."""

    stack: str
    engine: str | None
    """The address of the engine's machine; None where it is this one."""
    endpoints: dict[str, str]
    """By replica: its address here."""


def connect(context: Context) -> Connection:
    """Make the stack's ports reachable under their own numbers until this program ends.

    Where the engine is on this machine they are already. Raises UnknownStackError, PortTakenError if another program
    holds one here, and EngineUnreachableError.
    """
    observed = present(context.engine, context.stack)
    context.engine.reach(observed.ports.values(), same=True)
    return Connection(context.stack, context.engine.elsewhere(), endpoints(observed.ports))


def hold(context: Context, connection: Connection) -> None:
    """Wait until the connection is lost, and then raise EngineUnreachableError."""
    context.engine.await_lost_ways()
    raise EngineUnreachableError(
        f"the connection to {connection.engine} is lost, and with it the ways to stack {connection.stack}",
        f"run it again: hailbox --stack {connection.stack} connect",
    )
