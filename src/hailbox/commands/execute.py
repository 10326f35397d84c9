"""`exec`: another program in the container of a replica."""

from __future__ import annotations

from collections.abc import Sequence

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState, Execution
from hailbox.model import names
from hailbox.model.errors import NotWorkingError, UnknownServiceError
from hailbox.observe import present


def execute(context: Context, replica: str, command: Sequence[str]) -> Execution:
    """Run it to its end, without input. Raises what `container` does."""
    return context.engine.execute(container(context, replica).id, command)


def attached(context: Context, replica: str, command: Sequence[str], *, terminal: bool) -> tuple[str, ...]:
    """The command line of a program that runs it with our own standard streams; see `Engine.attached_command`."""
    return context.engine.attached_command(container(context, replica).id, command, terminal=terminal)


def container(context: Context, word: str) -> Container:
    """The running container of that replica, or of the only replica of that service.

    Raises UnknownStackError, UnknownServiceError, and NotWorkingError where it does not run.
    """
    observed = present(context.engine, context.stack)
    services = [each for each in observed.containers if names.HELPER not in each.labels]
    found = [each for each in services if each.labels.get(names.REPLICA) == word] or [
        each for each in services if each.labels.get(names.SERVICE) == word
    ]
    if len(found) != 1:
        known = sorted({each.labels.get(names.REPLICA, each.name) for each in (found or services)})
        raise UnknownServiceError(
            f"stack {context.stack} has {'several containers' if found else 'no container'} of {word!r}",
            f"choose one: {', '.join(known)}" if known else f"run: hailbox --stack {context.stack} up",
        )
    if found[0].state is not ContainerState.RUNNING:
        raise NotWorkingError(
            f"the container of {word} is {found[0].state.value}; only in one that runs can a command be run",
            f"bring it up with: hailbox --stack {context.stack} up",
        )
    return found[0]
