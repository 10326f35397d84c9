"""Removing containers and volumes, as fast as the engine does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hailbox.engine.port import Container, Engine

T = TypeVar("T")


def each(work: Callable[[T], object], things: Iterable[T]) -> None:
    """Do `work` for all things at once; raises the first error after all have ended."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        list(pool.map(work, things))


def discard(engine: Engine, volumes: Iterable[str], containers: Sequence[Container]) -> None:
    """Kill and remove these containers and volumes. What is thrown away needs no graceful stop."""
    used = Counter(volume for container in containers for volume in container.mounts)
    wanted = dict.fromkeys(volumes)

    def remove(container: Container) -> None:
        engine.remove_container(container.id)
        each(engine.remove_volume, [name for name in container.mounts if name in wanted and used[name] == 1])

    each(remove, containers)
    each(engine.remove_volume, [name for name in wanted if used[name] != 1])
