"""`logs --follow`: the lines of a stack as they come, across restarts and new containers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from hailbox.commands.logs import LogLine, chosen, moment, read
from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState, Engine
from hailbox.model import names
from hailbox.model.errors import EngineFailedError, EngineUnreachableError

LOOK: Final = 1.0
"""Seconds between two looks for containers that are new or run again."""

GRACE: Final = 5.0
"""Seconds without a running container after which the stack is taken to be down, and not in the middle of a reset."""

_QUEUED: Final = 1000
"""Lines that may wait for the reader of our output; then the engine waits, too."""

_ALIVE: Final = (ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING)


@dataclass(frozen=True)
class _End:
    """The end of what a container says, for now or for ever."""

    container: str
    error: EngineUnreachableError | None = None


@dataclass
class Follower:
    """Follows the services and replicas `words` of a stack; all if there are none."""

    engine: Engine
    stack: str
    words: Sequence[str]
    since: str = ""
    """The time of the first line that is wanted; empty: of all."""
    _arriving: queue.Queue[LogLine | _End] = field(default_factory=lambda: queue.Queue(_QUEUED))
    _followed: set[str] = field(default_factory=set)
    """Ids of the containers whose stream is open."""
    _last: dict[str, str] = field(default_factory=dict)
    """By replica, the time of the last line."""
    _alive: float = field(default_factory=time.monotonic)
    """When something of the stack was last seen to run."""

    def lines(self, containers: Sequence[Container], tail: int | None) -> Iterator[LogLine]:
        """What these containers say, beginning with their last `tail` lines, and what all that come after them say,
        until the stack has been down for GRACE seconds. Raises EngineFailedError where the engine goes."""
        for container in containers:
            self._begin(container, tail)
        looked = time.monotonic()
        while True:
            try:
                found = self._arriving.get(timeout=LOOK)
            except queue.Empty:
                found = None
            if isinstance(found, LogLine):
                self._last[found.replica] = found.time
                yield found
            elif found is not None:
                self._followed.discard(found.container)
                if found.error is not None:
                    raise self._gone(found.error)
            if time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                self._look()
                if looked - self._alive > GRACE and self._arriving.empty():
                    return

    def _look(self) -> None:
        """Follow what runs and is not followed."""
        try:
            containers = self.engine.containers({names.STACK: self.stack})
        except EngineUnreachableError as error:
            raise self._gone(error) from error
        for container in containers:
            if names.HELPER in container.labels or container.state not in _ALIVE:
                continue
            self._alive = time.monotonic()
            meant = {container.labels.get(names.REPLICA), container.labels.get(names.SERVICE)}
            if container.id not in self._followed and (not self.words or meant & set(self.words)):
                self._begin(container, None)

    def _begin(self, container: Container, tail: int | None) -> None:
        last = self._last.get(container.labels.get(names.REPLICA, container.name), self.since)
        self._followed.add(container.id)
        threading.Thread(target=self._pump, args=(container, tail, last), daemon=True).start()

    def _pump(self, container: Container, tail: int | None, last: str) -> None:
        """`last`: the time of the last line that was printed of this replica, or of the first that is wanted."""
        gone = None
        since = int(datetime.fromisoformat(f"{last[:19]}+00:00").timestamp()) if last else None
        try:
            for line in read(self.engine, container, tail, follow=True, since=since):
                if line.time > last or (last == self.since and line.time == last):
                    self._arriving.put(line)
        except EngineUnreachableError as error:
            gone = error
        except EngineFailedError:
            pass  # the container has been removed; the next look shows what is there instead
        finally:
            self._arriving.put(_End(container.id, gone))

    def _gone(self, error: EngineUnreachableError) -> EngineFailedError:
        return EngineFailedError(
            f"the engine went away while its logs were followed: {error.problem}",
            f"when it is back, run: hailbox --stack {self.stack} logs --follow",
        )


def follow(
    context: Context, wanted: Sequence[str] = (), *, tail: int | None = None, since: float | None = None
) -> Iterator[LogLine]:
    """The lines of these services or replicas (none: of all) as they come, until the stack is down.

    `tail` and `since` as for `logs`. Raises as that does, and EngineFailedError where the engine goes.
    """
    containers = chosen(context, wanted)
    return Follower(context.engine, context.stack, wanted, moment(since)).lines(containers, tail)
