"""The roots of a stack's trouble: what was done to it on purpose, what is missing, and who is sick by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hailbox.commands import status
from hailbox.commands.result import StackResult
from hailbox.context import Context
from hailbox.diagnosis import evidence as diagnosis
from hailbox.diagnosis.replica import Patient, diagnose
from hailbox.engine.port import Container
from hailbox.helper import run as helpers
from hailbox.model import names
from hailbox.model.catalog import Catalog, Profile
from hailbox.model.errors import (
    CredentialsGoneError,
    FaultInEffectError,
    HailboxError,
    RestoreUnfinishedError,
    VolumeGoneError,
)
from hailbox.observe import Observed
from hailbox.probe.outcome import Outcome
from hailbox.stack import credentials, plan


def examine(context: Context, observed: Observed) -> tuple[StackResult, list[HailboxError]]:
    """How each replica is, and the errors at the root, those to mend first in front."""
    profile = plan.chosen_profile(context, observed)[0]
    outcomes = status.probe(context, observed, profile)
    result = status.examine(context, observed, outcomes)
    return result, list(_roots(context, observed, profile, outcomes))


def _roots(
    context: Context, observed: Observed, profile: Profile, outcomes: Mapping[str, Outcome]
) -> Iterator[HailboxError]:
    up = f"hailbox --stack {context.stack} up"
    if unfinished := helpers.unfinished_restores(observed):
        name = unfinished[0].labels.get(names.SNAPSHOT_NAME, "")
        yield RestoreUnfinishedError(f"the snapshot {name!r} is half restored", f"let it finish: {up}")
        return
    if observed.down:
        yield from _volumes_gone(context, observed, profile)
        yield status.stack_down(context.stack)
        return
    explained = set()
    sick = [name for name, outcome in outcomes.items() if not outcome.working]
    order = [replica.name for replica in profile.replicas]

    def place(container: Container) -> int:
        return min(
            (order.index(name) for name in container.labels[names.FAULT_TARGETS].split() if name in order), default=0
        )

    # A profile names those first that others need.
    for container in sorted(helpers.active_faults(observed), key=place):
        targets = container.labels[names.FAULT_TARGETS].split()
        followers = sorted(set(_following(sick, targets, profile, context.catalog)) - set(targets))
        explained |= {*targets, *followers}
        yield _fault(context, helpers.fault_id(container), targets, followers)
    yield from _volumes_gone(context, observed, profile)
    if sick and observed.containers and credentials.read(context.engine, observed) is None:
        yield CredentialsGoneError("the stack's credentials are missing or damaged", f"have new ones made: {up}")
        return
    left = [name for name in sick if name not in explained]
    roots = diagnosis.roots(left, profile, context.catalog) if left else []
    for root in roots:
        followers = [name for name in _following(left, [root], profile, context.catalog) if name not in roots]
        yield diagnose(Patient(context, observed, outcomes[root], followers))


def _fault(context: Context, identifier: str, targets: list[str], followers: list[str]) -> FaultInEffectError:
    waiting = f"; {', '.join(followers)} {'waits' if len(followers) == 1 else 'wait'} for it" if followers else ""
    return FaultInEffectError(
        f"{' and '.join(targets)}: the fault {identifier} was made on purpose and is in effect{waiting}",
        f"end it: hailbox --stack {context.stack} fault clear {identifier}",
    )


def _following(sick: list[str], roots: list[str], profile: Profile, catalog: Catalog) -> list[str]:
    """Those of the sick replicas that cannot work without one of the roots' services, at any remove."""
    services = {replica.name: replica.service for replica in profile.replicas}
    needed = {services[root] for root in roots if root in services}
    while True:
        more = {name for name, s in catalog.services.items() if set(s.needs) & needed} - needed
        if not more:
            break
        needed |= more
    direct = {services[root] for root in roots if root in services}
    return [name for name in sick if services[name] in needed - direct]


def _volumes_gone(context: Context, observed: Observed, profile: Profile) -> Iterator[VolumeGoneError]:
    if missing := sorted(_missing(context, observed, profile)):
        yield VolumeGoneError(
            f"the data of {', '.join(missing)} is gone: somebody removed its volume",
            f"go on with empty ones: hailbox --stack {context.stack} up",
        )


def _missing(context: Context, observed: Observed, profile: Profile) -> list[str]:
    """Replicas whose data volume is not there although others of the stack are."""
    present = {volume.labels.get(names.REPLICA) for volume in observed.data_volumes()}
    wanted = [r.name for r in profile.replicas if context.catalog.services[r.service].data]
    return [name for name in wanted if context.catalog.keeper(name) not in present] if present else []
