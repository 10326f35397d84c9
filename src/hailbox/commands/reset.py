"""`reset`: discards the data, of all services or of some, and brings the stack up again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from hailbox.commands import seed
from hailbox.commands.down import Removal
from hailbox.commands.result import StackResult
from hailbox.commands.up import bring_up
from hailbox.context import Context
from hailbox.helper import lostprocesses, settle
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe
from hailbox.stack import differences, lock, selection
from hailbox.stack.choice import choose
from hailbox.stack.recreate import discard_to_recreate, recreate
from hailbox.stack.situation import foresee, prepare


@dataclass(frozen=True)
class ResetResult:
    """What was discarded, and the stack afterwards (None with `--dry-run`)."""

    removal: Removal
    stack: StackResult | None
    quick: bool = False
    """Whether the daemons have discarded their data themselves, and no container or volume was removed."""
    reason: str = ""
    """Why a quick reset, which was asked for, was not possible."""


def reset(context: Context, wanted: Sequence[str] = (), *, dry_run: bool = False) -> ResetResult:
    """Discard the data of the services or replicas in `wanted` (none: of all), and bring the stack up.

    The credentials stay, so that what a user's programs were told remains true. Works from any state.
    Raises UnknownServiceError, and what `up` raises: what could make the coming `up` fail is asked first, and then
    nothing is discarded.
    """
    with lock.exclusive(context):
        observed = observe(context.engine, context.stack)
        replicas = _replicas(context, observed, wanted)
        containers = [c for c in observed.containers if c.labels.get(names.REPLICA) in replicas]
        volumes = sorted(volume.name for volume in observed.data_volumes(replicas))
        removal = Removal(
            context.stack,
            dry_run,
            containers=tuple(sorted(c.name for c in containers)),
            volumes=tuple(volumes),
        )
        if dry_run:
            return ResetResult(removal, None)
        with context.span("look before anything is discarded"):
            planned = foresee(context, observed)
        differing = differences.lines(observed.record, planned)
        differences.tell(context, observed.record, planned)
        if lostprocesses.end_suspected(context, observed):
            observed = observe(context.engine, context.stack)
        observed = _without_helpers(context, observed, partly=bool(wanted))
        if not wanted:
            seed.begin(context)
        for container in containers:
            context.tell(container.labels.get(names.REPLICA, container.name), Phase.REMOVED)
        with ThreadPoolExecutor(max_workers=1) as pool:
            # What is to come can be worked out while the engine removes what has been.
            discarding = pool.submit(discard_to_recreate, context.engine, observed, volumes, containers)
            situation = prepare(context, observed, leaving=containers, foreseen=planned)
            with context.span("discard"):
                gone = discarding.result()
        result = bring_up(context, replicas, recreate(context, situation, gone))
        return ResetResult(removal, replace(result, differences=differing, seeded=seed.plant_if_due(context)))


def _without_helpers(context: Context, observed: Observed, *, partly: bool) -> Observed:
    """No fault survives, and none of the volumes may be in use. What was being restored is discarded with them."""
    left = [container for container in observed.containers if names.HELPER in container.labels]
    if not left:
        return observed
    if partly:
        settle.settle(context, observed)
    else:
        settle.end_faults(context, observed)
        for container in left:
            context.engine.remove_container(container.id)
    return observe(context.engine, context.stack)


def _replicas(context: Context, observed: Observed, wanted: Sequence[str]) -> frozenset[str]:
    """The names of the replicas in question: those of the profile, and all else that there is."""
    known = selection.of_profile(choose(context, observed).profile)
    labelled = [container.labels for container in observed.containers]
    labelled += [volume.labels for volume in observed.volumes]
    for labels in labelled:
        if (name := labels.get(names.REPLICA)) and name != ONE_SHOT:
            known.setdefault(name, labels.get(names.SERVICE, ""))
    chosen = selection.chosen(context.stack, known, wanted)
    # Those of a group have one volume; none of them may be left with the data of the others gone.
    keepers = {context.catalog.keeper(name) for name in chosen}
    return frozenset(name for name in known if context.catalog.keeper(name) in keepers)
