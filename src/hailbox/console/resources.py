"""What the replicas took in the last ten minutes: memory, processor, network, and the size of their data."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from hailbox.console import scrape
from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState, Usage
from hailbox.model import names
from hailbox.model.errors import HailboxError
from hailbox.observe import observe
from hailbox.stack import selection

logger = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two samples."""
KEPT: Final = 600.0
"""Seconds for which they are kept."""
COUNTED: Final = 15.0
"""Seconds between two counts of requests, each of which runs a program in every container."""
MEASURED: Final = 30.0
"""Seconds between two measurements of the data, which walk through all files."""


@dataclass(frozen=True)
class Sample:
    """What a replica took at a moment."""

    time: float
    """Seconds since the epoch."""
    memory: int
    """Bytes."""
    processor: float
    """Share of one core since the sample before."""
    traffic: float
    """Bytes a second, received and sent, since the sample before."""
    requests: float | None = None
    """Requests a second since the sample before that counted them; None where none did."""


@dataclass
class _Track:
    """Of one replica."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=int(KEPT / EVERY) + 1))
    before: tuple[str, float, Usage] | None = None
    """The container that was sampled last, when, and what it had taken."""


class Resources:
    """Takes samples in a thread of its own. `wanted`: whether a page is open, for what costs more."""

    def __init__(self, context: Callable[[], Context], wanted: Callable[[], bool], counted: float = COUNTED) -> None:
        """`counted`: seconds between two counts of requests."""
        self._context = context
        self._wanted = wanted
        self._every_count = counted
        self._tracks: dict[str, _Track] = {}
        self._ended = threading.Event()
        self._measured = -MEASURED
        self._counted = -counted
        self._totals: dict[str, tuple[str, float, float]] = {}
        self._rates: dict[str, float] = {}
        self.volumes: Mapping[str, int] = {}
        """By replica: bytes of its data."""

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """End after the sample that is under way."""
        self._ended.set()

    def samples(self, replica: str) -> list[Sample]:
        """Those of the last ten minutes, oldest first."""
        track = self._tracks.get(replica)
        since = time.time() - KEPT
        return [sample for sample in list(track.samples) if sample.time >= since] if track else []

    def latest(self, replica: str) -> Sample | None:
        """The last sample, if it is fresh."""
        found = self.samples(replica)
        return found[-1] if found and found[-1].time > time.time() - 4 * EVERY else None

    def _run(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                self.take()
            except Exception:
                # The pages say what is wrong with the stack or the engine; the next sample may come about.
                logger.debug("no sample", exc_info=True)
                self.volumes = {}
            self._ended.wait(max(0.1, began + EVERY - time.monotonic()))

    def take(self) -> None:
        """Take one sample of every replica that runs. Raises what the engine raises."""
        context = self._context()
        observed = observe(context.engine, context.stack)
        known = selection.of_observed(observed)
        running = [
            container
            for container in observed.containers
            if container.labels.get(names.REPLICA) in known
            and names.HELPER not in container.labels
            and container.state is ContainerState.RUNNING
        ]
        if not running:
            return
        with ThreadPoolExecutor(max_workers=len(running)) as pool:
            usages = list(pool.map(lambda container: _usage(context, container), running))
        now = time.time()
        if not self._wanted():
            self._rates = {}
        elif time.monotonic() - self._counted >= self._every_count:
            self._counted = time.monotonic()
            self._count(context, running)
        for container, usage in zip(running, usages, strict=True):
            if usage is not None:
                self._note(container, now, usage)
        if self._wanted() and time.monotonic() - self._measured >= MEASURED:
            self._measured = time.monotonic()
            self.volumes = {
                container.labels[names.REPLICA]: size
                for container in running
                if (size := _data_size(context, container)) is not None
            }

    def _note(self, container: Container, now: float, usage: Usage) -> None:
        track = self._tracks.setdefault(container.labels[names.REPLICA], _Track())
        before, track.before = track.before, (container.id, now, usage)
        if before is None or before[0] != container.id:
            return  # nothing yet to reckon a rate from
        _, then, earlier = before
        seconds = max(0.001, now - then)
        processor = max(0.0, usage.processor - earlier.processor) / seconds
        traffic = max(0, usage.received + usage.sent - earlier.received - earlier.sent) / seconds
        rate = self._rates.get(container.labels[names.REPLICA])
        track.samples.append(Sample(now, usage.memory, processor, traffic, rate))

    def _count(self, context: Context, running: Sequence[Container]) -> None:
        """Ask every daemon how many requests it has answered."""
        with ThreadPoolExecutor(max_workers=len(running)) as pool:
            texts = list(pool.map(lambda container: scrape.read(context, container), running))
        for container, text in zip(running, texts, strict=True):
            replica, now = container.labels[names.REPLICA], time.monotonic()
            if text is None:
                self._rates.pop(replica, None)
                continue
            total = scrape.total(text)
            before = self._totals.get(replica)
            self._totals[replica] = (container.id, now, total)
            if before is not None and before[0] == container.id and total >= before[2]:
                self._rates[replica] = (total - before[2]) / max(0.001, now - before[1])


def _usage(context: Context, container: Container) -> Usage | None:
    try:
        return context.engine.container_usage(container.id)
    except HailboxError:
        return None  # it has just been removed


def _data_size(context: Context, container: Container) -> int | None:
    """Bytes of the replica's data, None if it keeps none or it cannot be said now."""
    service = context.catalog.services.get(container.labels.get(names.SERVICE, ""))
    if service is None or not service.data:
        return None
    try:
        ended = context.engine.execute(container.id, ["du", "-sk", service.data])
    except HailboxError:
        return None
    number = ended.output.split()[:1]
    return int(number[0]) * 1024 if number and number[0].isdigit() else None
