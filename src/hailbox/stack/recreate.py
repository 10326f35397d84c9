"""Re-creating replicas with empty volumes, and otherwise exactly as they were.

As nothing else differs, Compose is not needed: it would take a fifth of a second to find out so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from hailbox.context import Context
from hailbox.diagnosis import drift
from hailbox.engine.port import Container, Engine, Recipe
from hailbox.model import names
from hailbox.model.errors import EngineFailedError
from hailbox.model.limits import Limits
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe
from hailbox.stack.plan import Plan, is_as_planned
from hailbox.stack.removal import discard, each
from hailbox.stack.situation import Situation


@dataclass(frozen=True)
class Discarded:
    """Containers and volumes that are gone, and what they were made from."""

    containers: Sequence[Container]
    volumes: Mapping[str, Mapping[str, str]]
    """The labels by name."""
    recipes: Mapping[str, Recipe]
    """By container; of some it may be missing."""
    limits: Mapping[str, Limits]
    """By container, what it might use; the recipe repeats it."""


def discard_to_recreate(
    engine: Engine, observed: Observed, volumes: Sequence[str], containers: Sequence[Container]
) -> Discarded:
    """Kill and remove these containers and volumes, and keep what they were made from."""

    def recipe(container: Container) -> Recipe | None:
        try:
            return engine.container_recipe(container.id)
        except EngineFailedError:  # it has been removed meanwhile
            return None

    with ThreadPoolExecutor(max_workers=16) as pool:
        asking = pool.submit(drift.look, engine, containers)
        found = zip(containers, pool.map(recipe, containers), strict=True)
    labels = {volume.name: volume.labels for volume in observed.volumes if volume.name in volumes}
    recipes = {container.id: known for container, known in found if known is not None}
    discard(engine, volumes, containers)
    return Discarded(containers, labels, recipes, asking.result())


def recreate(context: Context, situation: Situation, gone: Discarded) -> Situation:
    """Re-create and start the replicas whose definition has not changed. Compose does the rest."""
    before = situation.observed
    situation = situation.without(gone.containers, gone.volumes)
    configured = situation.kept is not None and situation.kept.configures(situation.planned.blueprint)
    chosen = situation.planned.blueprint.overrides
    wanted = [
        c
        for c in gone.containers
        if configured
        and _is_as_planned(situation.planned, before, gone, c)
        and not drift.of_one(context, c, chosen, gone.limits.get(c.id))
    ]
    if not wanted:
        return situation
    engine = context.engine

    def create(container: Container) -> None:
        for name in container.mounts:
            if name in gone.volumes:
                engine.create_volume(name, gone.volumes[name])
        context.tell(container.labels[names.REPLICA], Phase.STARTING)
        engine.start_container(engine.create_container(container.name, gone.recipes[container.id]))

    # Where a port or the network was taken meanwhile, `up` plans with what there is then.
    with context.span("start"), contextlib.suppress(EngineFailedError):
        each(create, wanted)
    recreated = tuple(container.labels[names.REPLICA] for container in wanted)
    return replace(situation, observed=observe(engine, context.stack), recreated=recreated)


def _is_as_planned(planned: Plan, before: Observed, gone: Discarded, container: Container) -> bool:
    replica = container.labels.get(names.REPLICA, "")
    there = {volume.name for volume in before.volumes}
    return (
        container.id in gone.recipes
        and container.name == names.container(before.stack, replica)
        and bool(before.networks)
        and there >= set(container.mounts)
        and is_as_planned(planned, replica, before.of(replica))
    )
