"""`logs`: what the containers of a stack printed, merged in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hailbox.context import Context
from hailbox.engine.port import Container, Engine
from hailbox.model import names
from hailbox.observe import present
from hailbox.stack import selection


@dataclass(frozen=True)
class LogLine:
    """One line of one replica."""

    replica: str
    time: str
    """RFC 3339, UTC, as the engine gives it."""
    text: str


def logs(
    context: Context, wanted: Sequence[str] = (), *, tail: int | None = None, since: float | None = None
) -> list[LogLine]:
    """The lines of these services or replicas (none: of all), in order of time.

    `tail` is the number of last lines of each replica to begin with; `since`: only lines of that moment (seconds of
    the epoch) and later. Raises UnknownStackError,
    UnknownServiceError, StackDownError.
    """
    containers = chosen(context, wanted)
    second = None if since is None else int(since)
    lines = [
        line
        for container in containers
        for line in read(context.engine, container, tail, follow=False, since=second)
        if line.time >= moment(since)
    ]
    return sorted(lines, key=lambda line: line.time)


def moment(since: float | None) -> str:
    """A time as seconds of the epoch, in the form of the times of lines, which it can be compared with."""
    if since is None:
        return ""
    return datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def chosen(context: Context, wanted: Sequence[str]) -> list[Container]:
    """The containers of these services or replicas (none: all). Raises as `logs` does."""
    return selection.containers(present(context.engine, context.stack), wanted, one_shot=True)


def read(
    engine: Engine, container: Container, tail: int | None, *, follow: bool, since: int | None = None
) -> Iterator[LogLine]:
    """The lines of one container; `since`: only those of that second and later."""
    replica = container.labels.get(names.REPLICA, container.name)
    for line in engine.logs(container.id, tail=tail, follow=follow, since=since):
        time, _, text = line.decode(errors="replace").rstrip("\r").partition(" ")
        yield LogLine(replica, time, text)
