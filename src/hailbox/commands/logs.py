"""`logs`: what the containers of a stack printed, merged in order of time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    context: Context, wanted: Sequence[str] = (), *, tail: int | None = None, follow: bool = False
) -> Iterator[LogLine]:
    """The lines of these services or replicas (none: of all); with `follow` for ever, as they come.

    `tail` is the number of last lines of each replica to begin with. Raises UnknownStackError,
    UnknownServiceError, StackDownError.
    """
    containers = selection.containers(present(context.engine, context.stack), wanted, one_shot=True)
    if follow:
        yield from _followed(context.engine, containers, tail)
        return
    lines = [line for container in containers for line in _lines(context.engine, container, tail, follow=False)]
    yield from sorted(lines, key=lambda line: line.time)


def _lines(engine: Engine, container: Container, tail: int | None, *, follow: bool) -> Iterator[LogLine]:
    replica = container.labels.get(names.REPLICA, container.name)
    for line in engine.logs(container.id, tail=tail, follow=follow):
        time, _, text = line.decode(errors="replace").rstrip("\r").partition(" ")
        yield LogLine(replica, time, text)


def _followed(engine: Engine, containers: Sequence[Container], tail: int | None) -> Iterator[LogLine]:
    arriving: queue.Queue[LogLine | None] = queue.Queue(maxsize=1000)

    def pump(container: Container) -> None:
        try:
            for line in _lines(engine, container, tail, follow=True):
                arriving.put(line)
        finally:
            arriving.put(None)

    for container in containers:
        threading.Thread(target=pump, args=(container,), daemon=True).start()
    ended = 0
    while ended < len(containers):
        line = arriving.get()
        if line is None:
            ended += 1
        else:
            yield line
