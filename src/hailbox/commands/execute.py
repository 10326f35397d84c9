"""`exec`: another program in the container of a replica."""

from __future__ import annotations

from collections.abc import Sequence

from hailbox.context import Context
from hailbox.engine.port import Container, Execution
from hailbox.observe import present
from hailbox.stack import selection


def execute(context: Context, replica: str, command: Sequence[str]) -> Execution:
    """Run it to its end, without input. Raises what `container` does."""
    return context.engine.execute(container(context, replica).id, command)


def attached(context: Context, replica: str, command: Sequence[str], *, terminal: bool) -> tuple[str, ...]:
    """The command line of a program that runs it with our own standard streams; see `Engine.attached_command`."""
    return context.engine.attached_command(container(context, replica).id, command, terminal=terminal)


def container(context: Context, word: str) -> Container:
    """The running container of that replica, or of the only replica of that service.

    Raises UnknownStackError, StackDownError, UnknownServiceError, and NotWorkingError where it does not run.
    """
    return selection.running(present(context.engine, context.stack), word)
