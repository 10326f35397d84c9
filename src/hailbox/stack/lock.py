"""One command at a time on a stack, whatever user, shell or machine it comes from: a lock that dies with its holder.

The lock is the engine's, as all state is: a container that never runs, whose name only one command can take, and
whose labels say which command holds it. A holder of this machine is dead when no process has its id and start time,
or the machine was booted since. A holder of another machine beats: one whose count stands still for SILENCE seconds
is dead. What remains: two machines of one id and one boot (clones of a running virtual machine) take each other's
holders for dead.

Compose inherits a descriptor from its driver (see `composeprocesses`): one that a killed driver leaves behind still
holds the lock until it ends, or is ended because it hangs.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import tenacity

from hailbox.context import Context
from hailbox.engine.port import Marker, Markers
from hailbox.model import names
from hailbox.model.errors import BusyError, HailboxError
from hailbox.model.progress import Phase
from hailbox.stack import composeprocesses, holder
from hailbox.stack.holder import Holder, Life

DEADLINE: Final = 300.0
"""Seconds to wait for another command; the longest, an `up` that builds everything, takes about a minute."""

BEAT: Final = 5.0
"""Seconds between two signs of life of a holder."""

SILENCE: Final = 30.0
"""Seconds without a sign of life after which a holder of another machine is dead."""

_held: Final[set[str]] = set()
"""The tokens of the locks that this process holds."""


@contextlib.contextmanager
def exclusive(context: Context) -> Iterator[None]:
    """Hold the lock of the command's stack; tell if another command has to be waited for. Raises BusyError."""

    def tell(text: str) -> None:
        context.tell(context.stack, Phase.WAITING, text)

    with held(context.engine, context.stack, context.command, tell=tell):
        yield


def is_free(engine: Markers, stack: str) -> bool:
    """Whether no command holds the stack's lock; one that has died holds none."""
    marker = engine.marker(names.lock(stack))
    return marker is None or _is_left(marker)


def _is_left(marker: Marker) -> bool:
    """Whether the marker's holder is known to be dead, and left no Compose that still works."""
    found = holder.parse(marker.labels.get(names.LOCK_HOLDER))
    return found is not None and _is_dead(found) and not composeprocesses.keep(found.token)


def _is_dead(found: Holder) -> bool:
    if found.pid == os.getpid() and holder.life(found) is Life.ALIVE:
        return found.token not in _held
    return holder.life(found) is Life.DEAD


@contextlib.contextmanager
def held(
    engine: Markers, stack: str, command: str, *, tell: Callable[[str], None], deadline: float = DEADLINE
) -> Iterator[None]:
    """Hold the stack's lock. `tell` gets a line of text if another command holds it, and what becomes of that.

    Raises BusyError after `deadline` seconds.
    """
    token = secrets.token_hex(8)
    _held.add(token)
    sign = composeprocesses.sign(token)
    done = threading.Event()
    taken = None
    try:
        us = holder.ourselves(command, token)
        taken = _take(engine, _Wait(engine, stack, tell), us, deadline)
        threading.Thread(target=_beat, args=(engine, taken, done), daemon=True).start()
        yield
    finally:
        done.set()
        _held.discard(token)
        if sign is not None:
            os.close(sign)
        if taken is not None:
            # A lock that cannot be given back is taken over: its token is not among those that are held.
            with contextlib.suppress(HailboxError):
                engine.remove_marker(taken)


def _beat(engine: Markers, marker: str, done: threading.Event) -> None:
    beats = 0
    while not done.wait(BEAT):
        beats += 1
        with contextlib.suppress(HailboxError):
            engine.beat_marker(marker, beats)


@dataclass
class _Wait:
    """Waiting for another command's end; `look` each time that the name is taken."""

    engine: Markers
    stack: str
    tell: Callable[[str], None]
    watchers: dict[str, composeprocesses.Watcher] = field(default_factory=dict)
    """By token of a dead holder: who looks after its Compose."""
    beats: tuple[str, int, float] = ("", -1, 0.0)
    """The marker seen last, its count, and since when, by our monotonic clock."""
    name: str = "another command"
    told: bool = False

    def look(self) -> None:
        """Look at the marker that has the name; remove it if its holder is dead."""
        marker = self.engine.marker(names.lock(self.stack))
        if marker is None:
            return
        found = holder.parse(marker.labels.get(names.LOCK_HOLDER))
        if found is not None:
            self.name = str(found)
            if self._is_over(marker, found):
                self.engine.remove_marker(marker.id)
                return
        if not self.told:
            self.told = True
            self.tell(f"{self.name} works on this stack; waiting for it to end")

    def _is_over(self, marker: Marker, found: Holder) -> bool:
        life = holder.life(found)
        if life is Life.UNKNOWN:
            return self._is_silent(marker)
        if not _is_dead(found):
            return False
        watcher = self.watchers.get(found.token)
        if watcher is None:
            watcher = self.watchers[found.token] = composeprocesses.Watcher(found.token, self.stack, self.tell)
        if not watcher.look():
            return True
        pids = ", ".join(str(pid) for pid in sorted(watcher.known))
        self.name = f"Compose (pid {pids}), left by {found}, which was killed,"
        return False

    def _is_silent(self, marker: Marker) -> bool:
        now = time.monotonic()
        if self.beats[:2] != (marker.id, marker.beats):
            self.beats = (marker.id, marker.beats, now)
        return now - self.beats[2] >= SILENCE

    def close(self) -> None:
        """Forget the processes that were watched."""
        for watcher in self.watchers.values():
            watcher.close()


def _take(engine: Markers, wait: _Wait, us: Holder, deadline: float) -> str:
    labels = {names.LOCK: wait.stack, names.LOCK_HOLDER: us.text()}

    def attempt() -> str | None:
        taken = engine.create_marker(names.lock(wait.stack), labels)
        if taken is None:
            wait.look()
        return taken

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda taken: taken is None),
        wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.25),
        stop=tenacity.stop_after_delay(deadline),
    )
    try:
        return str(attempts(attempt))
    except tenacity.RetryError as error:
        raise BusyError(
            f"{wait.name} has been working on stack {wait.stack} for more than {deadline:.0f} s",
            "wait for it, or end that process and run the command again; if there is no such process: "
            f"docker rm {names.lock(wait.stack)}",
        ) from error
    finally:
        wait.close()
