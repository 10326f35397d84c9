"""Containers whose limits `docker update` has changed: the engine keeps no trace of what they were made with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import hailbox
from hailbox.context import Context
from hailbox.engine.port import Container, Engine
from hailbox.model import limits, names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import EngineFailedError
from hailbox.model.limits import Limits
from hailbox.model.overrides import Recorded
from hailbox.observe import Observed


def look(engine: Engine, containers: Collection[Container]) -> dict[str, Limits]:
    """The limits of the service containers among these, by id."""

    def ask(container: Container) -> Limits | None:
        try:
            return engine.container_details(container.id).limits
        except EngineFailedError:  # it has been removed meanwhile
            return None

    asked = [container for container in containers if _is_judged(container)]
    if not asked:
        return {}
    with ThreadPoolExecutor(max_workers=len(asked)) as pool:
        found = zip(asked, pool.map(ask, asked), strict=True)
    return {container.id: seen for container, seen in found if seen is not None}


def _is_judged(container: Container) -> bool:
    """Whether it is a service of this release: another one may have had other limits."""
    service = container.labels.get(names.SERVICE)
    return service not in (None, ONE_SHOT) and container.labels.get(names.VERSION) == hailbox.__version__


def changed(
    context: Context, observed: Observed, chosen: Recorded, seen: Mapping[str, Limits]
) -> dict[str, tuple[str, ...]]:
    """By container whose limits differ from those chosen: how, in words. `seen`: what `look` has found."""
    found = {
        container.id: of_one(context, container, chosen, seen[container.id])
        for container in observed.containers
        if container.id in seen
    }
    return {identifier: words for identifier, words in found.items() if words}


def of_one(context: Context, container: Container, chosen: Recorded, seen: Limits | None) -> tuple[str, ...]:
    """How the limits of a container differ from those chosen, in words; nothing if they are as chosen, or unknown."""
    if seen is None or not _is_judged(container):
        return ()
    labels = container.labels
    wanted = limits.planned(context.catalog, chosen, labels[names.SERVICE], labels.get(names.REPLICA, ""))
    return limits.changes(seen, wanted)
