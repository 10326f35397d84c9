"""The roots of a stack's trouble: what was done to it on purpose, what is missing, and what is sick by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hailbox.context import Context
from hailbox.diagnosis import drift, evidence
from hailbox.diagnosis.replica import Patient, diagnose, waiting
from hailbox.engine.port import Container
from hailbox.helper import settle
from hailbox.model import names
from hailbox.model.catalog import Catalog, Profile
from hailbox.model.errors import (
    CredentialsGoneError,
    FaultInEffectError,
    HailboxError,
    LimitsChangedError,
    RestoreUnfinishedError,
    StackDownError,
    VolumeGoneError,
)
from hailbox.observe import Observed
from hailbox.probe.outcome import Outcome


@dataclass(frozen=True)
class Case:
    """A stack as it was seen, and what its probes said."""

    context: Context
    observed: Observed
    profile: Profile
    outcomes: Mapping[str, Outcome]
    """By replica; all of the profile."""
    has_credentials: bool = True
    tried: Sequence[str] = ()
    """What `up` has done in vain."""

    def command(self, words: str) -> str:
        """A command about this stack."""
        return f"hailbox --stack {self.context.stack} {words}"


def roots(sick: Collection[str], profile: Profile, catalog: Catalog) -> list[str]:
    """Those of the sick replicas that need no other sick one: the followers get well by themselves."""
    services = {replica.name: replica.service for replica in profile.replicas}
    sick_services = {services[name] for name in sick}
    found = [name for name in sick if not sick_services & set(catalog.services[services[name]].needs)]
    return found or list(sick)


def find(case: Case) -> list[HailboxError]:
    """The errors at the root of the stack's trouble, those to mend first in front; none if all works."""
    return list(_found(case))


def _found(case: Case) -> Iterator[HailboxError]:
    if unfinished := settle.unfinished_restores(case.observed):
        name = unfinished[0].labels.get(names.SNAPSHOT_NAME, "")
        yield RestoreUnfinishedError(
            f"the snapshot {name!r} is half restored", f"let it finish: {case.command('up')}"
        )
        return
    if case.observed.down:
        yield from _volumes_gone(case)
        yield StackDownError(
            f"stack {case.context.stack} is down: none of its services has a container",
            f"start it with: {case.command('up')}",
        )
        return
    sick = [name for name, outcome in case.outcomes.items() if not outcome.working]
    explained: set[str] = set()
    for container in _faults(case):
        targets = settle.fault_targets(container)
        followers = sorted(set(_following(sick, targets, case)) - set(targets))
        explained |= {*targets, *followers}
        yield FaultInEffectError(
            f"{' and '.join(targets) or 'the stack'}: the fault {settle.fault_id(container)} was made on purpose "
            "and is in effect" + waiting(followers),
            f"end it: {case.command(f'fault clear {settle.fault_id(container)}')}",
        )
    yield from _volumes_gone(case)
    if sick and case.observed.containers and not case.has_credentials:
        yield CredentialsGoneError(
            "the stack's credentials are missing or damaged", f"have new ones made: {case.command('up')}"
        )
        return
    yield from _sick_by_themselves(case, [name for name in sick if name not in explained])
    yield from _changed_limits(case, [name for name, outcome in case.outcomes.items() if outcome.working])


def _changed_limits(case: Case, working: Sequence[str]) -> Iterator[LimitsChangedError]:
    """What `docker update` has changed of replicas that work all the same."""
    containers = [container for name in working for container in case.observed.of(name)]
    chosen = case.observed.record.overrides if case.observed.record else {}
    changed = drift.changed(case.context, case.observed, chosen, drift.look(case.context.engine, containers))
    for container in containers:
        if words := changed.get(container.id):
            yield LimitsChangedError(
                f"{container.labels[names.REPLICA]} works, and its limits were changed (docker update): "
                + ", ".join(words),
                f"give it back those that it was made with: {case.command('up')}",
            )


def _sick_by_themselves(case: Case, sick: Sequence[str]) -> Iterator[HailboxError]:
    found = roots(sick, case.profile, case.context.catalog) if sick else []
    for root in found:
        followers = [name for name in _following(sick, [root], case) if name not in found]
        seen = evidence.collect(case.context, case.observed, case.outcomes[root])
        yield diagnose(Patient(case.context, seen, followers, case.tried))


def _faults(case: Case) -> list[Container]:
    """The helpers of the faults in effect, in the order in which a profile names what others need first."""
    order = [replica.name for replica in case.profile.replicas]

    def place(container: Container) -> int:
        targets = settle.fault_targets(container)
        return min((order.index(name) for name in targets if name in order), default=0)

    return sorted(settle.active_faults(case.observed), key=place)


def _following(sick: Sequence[str], roots: Sequence[str], case: Case) -> list[str]:
    """Those of the sick replicas that cannot work without one of the roots' services, at any remove."""
    services = {replica.name: replica.service for replica in case.profile.replicas}
    direct = {services[root] for root in roots if root in services}
    needed = set(direct)
    while True:
        more = {name for name, s in case.context.catalog.services.items() if set(s.needs) & needed} - needed
        if not more:
            break
        needed |= more
    return [name for name in sick if services[name] in needed - direct]


def _volumes_gone(case: Case) -> Iterator[VolumeGoneError]:
    if missing := sorted(_missing(case)):
        yield VolumeGoneError(
            f"the data of {', '.join(missing)} is gone: its volume was removed",
            f"go on with empty ones: {case.command('up')}",
        )


def _missing(case: Case) -> list[str]:
    """Replicas whose data volume is not there although others of the stack are."""
    catalog = case.context.catalog
    present = case.observed.with_data
    wanted = [r.name for r in case.profile.replicas if catalog.services[r.service].data]
    return [name for name in wanted if catalog.keeper(name) not in present] if present else []
