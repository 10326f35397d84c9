"""Following the daemons of a stack: a reader for each container, which makes its daemon tell of its requests.

The engine does not end a command in a container when the reader of its output is gone, so each reader's command ends
by itself after READ seconds, and the next one goes on where it left.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState
from hailbox.model import names
from hailbox.model.errors import EngineFailedError, EngineUnreachableError, HailboxError, NotWorkingError
from hailbox.observe import observe, present
from hailbox.stack import selection
from hailbox.trace.exchange import Exchange
from hailbox.trace.merging import Merger

READ: Final = 30
LOOK: Final = 2.0
"""Seconds between two looks for containers that are new."""
_AGAIN: Final = 1.0
"""Seconds until a daemon that told nothing is asked again."""
_TURN: Final = 0.1
SILENT: Final = 10.0
"""Seconds in which a first daemon has to tell of its requests."""

RESOLVE: Final = """
import json, socket, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[socket.gethostbyname(name)] = name
    except OSError:
        pass
print(json.dumps(found))
"""
"""Which replica has which address: the names are Docker's, which only containers can ask for."""


class Tracer:
    """Follows services and replicas `words` of a stack; all if there are none."""

    def __init__(self, context: Context, words: Sequence[str] = ()) -> None:
        self._context = context
        self._words = tuple(words)
        self._arriving: queue.Queue[tuple[str, str, Mapping[str, Any]]] = queue.Queue(10_000)
        self._followed: set[str] = set()
        self._merger = Merger()
        self._ended = threading.Event()
        self._begun = threading.Event()

    def stop(self) -> None:
        """End: `turns` returns soon."""
        self._ended.set()

    def turns(
        self, seconds: float | None = None, begun: Callable[[], None] = lambda: None
    ) -> Iterator[list[Exchange]]:
        """The requests that end from now on, for so many seconds, or until `stop`: several times a second those that
        are new, perhaps none. `begun` is called once a first daemon tells. Raises
        UnknownStackError, StackDownError, UnknownServiceError, EngineUnreachableError, and NotWorkingError
        where no daemon tells anything."""
        selection.containers(present(self._context.engine, self._context.stack), self._words)
        began = time.monotonic()
        end = None if seconds is None else began + seconds
        looked = -LOOK
        told = False
        try:
            while not self._ended.is_set() and (end is None or time.monotonic() < end):
                if time.monotonic() - looked >= LOOK:
                    looked = time.monotonic()
                    self._look()
                self._take()
                if not told and self._begun.is_set():
                    told = True
                    begun()
                elif not told and time.monotonic() - began > SILENT:
                    raise NotWorkingError(
                        f"no daemon of stack {self._context.stack} tells of its requests",
                        f"bring the stack up to date: hailbox --stack {self._context.stack} up; programs of your own "
                        "in place of the daemons tell nothing",
                    )
                yield list(self._merger.ready(time.monotonic()))
        finally:
            self._ended.set()

    def _take(self) -> None:
        """Take what has come, waiting for it a moment."""
        try:
            replica, service, event = self._arriving.get(timeout=_TURN)
            while True:
                self._merger.take(event, replica, service, time.monotonic())
                replica, service, event = self._arriving.get_nowait()
        except queue.Empty:
            return

    def _look(self) -> None:
        """Follow what runs and is not followed."""
        observed = observe(self._context.engine, self._context.stack)
        known = selection.of_observed(observed)
        running = [
            container
            for container in observed.containers
            if container.state is ContainerState.RUNNING
            and names.HELPER not in container.labels
            and container.labels.get(names.REPLICA) in known
        ]
        fresh = [container for container in running if container.id not in self._followed]
        if not fresh:
            return
        self._merger.addresses = _addresses(self._context, running) or self._merger.addresses
        for container in fresh:
            meant = {container.labels[names.REPLICA], container.labels.get(names.SERVICE)}
            self._followed.add(container.id)
            # Only tabled knows what it asks of nodes, and tells it.
            if not self._words or meant & set(self._words) or container.labels.get(names.SERVICE) == "tabled":
                threading.Thread(target=self._read, args=(container,), daemon=True).start()

    def _wanted(self, replica: str, service: str) -> bool:
        return not self._words or bool({replica, service} & set(self._words))

    def _read(self, container: Container) -> None:
        replica, service = container.labels[names.REPLICA], container.labels.get(names.SERVICE, "")
        after = -1
        try:
            while not self._ended.is_set():
                words = ["python3", "-m", "haild.daemon.reader", "events", "--after", str(after)]
                told = False
                for line in self._context.engine.stream(container.id, [*words, "--seconds", str(READ)]):
                    event = _event(line)
                    after = int(event.get("number", after))
                    told = True
                    self._begun.set()
                    if event.get("kind") != "request" or self._wanted(replica, service):
                        self._arriving.put((replica, service, event))
                    if self._ended.is_set():
                        return
                if not told:
                    after = -1
                    self._ended.wait(_AGAIN)
        except (EngineFailedError, EngineUnreachableError):
            self._followed.discard(container.id)  # it has ended; the next look finds what is there instead


def _event(line: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _addresses(context: Context, running: Sequence[Container]) -> Mapping[str, str]:
    """By address: the replica that has it; nothing where no container can say."""
    replicas = [container.labels[names.REPLICA] for container in running]
    for container in running:
        try:
            said = context.engine.execute(container.id, ["python3", "-c", RESOLVE, *replicas])
            if said.status == 0:
                return dict(json.loads(said.output))
        except (HailboxError, ValueError, TypeError):
            continue
    return {}
