"""What comes before anything is changed: what there is, what should be, and all that is needed for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from hailbox.context import Context, Span
from hailbox.diagnosis import drift
from hailbox.engine.port import Container
from hailbox.helper import lostprocesses, settle
from hailbox.model import names
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe
from hailbox.probe import watch as probes
from hailbox.stack import credentials, lock, ownimages, plan, preflight, taken
from hailbox.stack.choice import Choice, choose
from hailbox.stack.plan import Plan
from hailbox.stack.removal import each


@dataclass(frozen=True)
class Situation:
    """What there is, what should be, and what is needed for it; worked out once for a command."""

    observed: Observed
    choice: Choice
    planned: Plan
    kept: credentials.Kept | None
    """The credentials and configuration files; None if there are none yet."""
    ended_faults: tuple[str, ...]
    restored: tuple[Container, ...]
    """The helpers that have restored a snapshot; they are to be ended when the services are started."""
    recreated: tuple[str, ...] = ()
    """The replicas that the command has re-created already."""
    drifted: tuple[str, ...] = ()
    """By replica whose limits `docker update` had changed: how, a line each. Its container is gone."""

    def without(self, containers: Collection[Container], volumes: Collection[str]) -> Situation:
        """The situation when these are gone."""
        return replace(self, observed=self.observed.without(containers, volumes))


def _mark_start(context: Context) -> None:
    """Note how long the program took to come here, unless an earlier step has."""
    if not context.spans:
        context.spans.append(Span("until here", 0.0, context.elapsed))


def look(context: Context, *, holding: bool = False) -> Situation | None:
    """The situation of a stack that is as it should be; None where anything has to be done. Changes nothing.

    holding: the caller holds the stack's lock; otherwise one that is taken means that something is being done.
    Raises what `preflight`, `choice` and `ports` raise.
    """
    engine = context.engine
    _mark_start(context)
    with ThreadPoolExecutor() as pool, context.span("look"):
        checking = pool.submit(preflight.check_engine, engine)
        free = pool.submit(lock.is_free, engine, context.stack)
        observed = observe(engine, context.stack)
        checking.result()
        helping = any(names.HELPER in container.labels for container in observed.containers)
        if observed.down or observed.empty or helping or not (holding or free.result()):
            return None
        reading = pool.submit(credentials.look, engine, observed)
        suspecting = pool.submit(lostprocesses.suspected, context, observed)
        asking = pool.submit(drift.look, engine, observed.containers)
        choice = choose(context, observed)
        probes.load(choice.profile.services)
        planned = plan.unchanged(context, observed, choice)
        kept = reading.result()
        if planned is None or kept is None or suspecting.result() is not None:
            return None
        if drift.changed(context, observed, planned.blueprint.overrides, asking.result()):
            return None
    return Situation(observed, choice, planned, kept, (), ())


def foresee(context: Context, observed: Observed) -> Plan:
    """The plan for what comes after something is discarded, once all that could make it fail is known not to.

    Raises, before anything is discarded, what `choice`, `images.build` and `ports` raise, NameTakenError,
    NetworkTwiceError, and where Compose is needed ComposeMissingError or ComposeTooOldError.
    """
    preflight.check_engine(context.engine)
    choice = choose(context, observed)
    ownimages.ensure(context, observed, choice, plan.images_seen(observed))
    planned = plan.build(context, observed, choice, plan.image_references(context, observed, choice))
    taken.refuse(context, planned, observed)
    if plan.outdated(planned, observed):
        context.engine.compose_version()
    return planned


def prepare(
    context: Context,
    observed: Observed | None = None,
    leaving: Collection[Container] = (),
    foreseen: Plan | None = None,
) -> Situation:
    """Look at what there is, end all faults, have the images, and make the plan.

    observed: what the caller has already seen of the stack. leaving: containers that are being removed; their files
    are not read. foreseen: the plan, where the caller has it. Raises what `preflight`, `choice`, `images.build` and
    `ports` raise.
    """
    engine = context.engine
    _mark_start(context)
    with ThreadPoolExecutor() as pool:
        with context.span("ask the engine"):
            checking = pool.submit(preflight.check_engine, engine)
            looked = observed is not None
            observed = observed or observe(engine, context.stack)
            # The engine takes long to hand out a file; what comes next does not need it.
            # A snapshot that is half restored may bring its credentials along.
            restoring = settle.unfinished_restores(observed)
            reading = None if restoring else pool.submit(credentials.look, engine, observed.without(leaving))
            # Before a container is started or removed: either would make it worse. A caller that has begun to remove
            # has looked, and another look would keep its volumes in use.
            if not looked and lostprocesses.end_suspected(context, observed):
                observed = observe(engine, context.stack)
            checking.result()
        settling = pool.submit(settle.finish, context, observed)
        choice = choose(context, observed)
        asking = pool.submit(drift.look, engine, observed.without(leaving).containers)
        complete = all(observed.of(replica.name) for replica in choice.profile.replicas)
        finding = None if complete else pool.submit(engine.compose_version)
        with context.span("load the probes"):
            probes.load(choice.profile.services)
        if finding is not None:
            with context.span("find Compose"):
                finding.result()
        ended = settling.result()
        if any(names.HELPER in container.labels for container in observed.containers):
            observed = observe(engine, context.stack)
        restored = settle.of_kind(observed, names.RESTORE)
        observed = observed.without(restored)
        if foreseen is None:
            with context.span("images"):
                ownimages.ensure(context, observed, choice, plan.images_seen(observed))
                references = plan.image_references(context, observed, choice)
            with context.span("plan"):
                foreseen = plan.build(context, observed, choice, references)
        with context.span("read credentials"):
            kept = reading.result() if reading else credentials.look(engine, observed)
        changed = drift.changed(context, observed, foreseen.blueprint.overrides, asking.result())
        drifted, observed = _remove_drifted(context, observed, changed)
    return Situation(observed, choice, foreseen, kept, ended, tuple(restored), drifted=drifted)


def _remove_drifted(
    context: Context, observed: Observed, changed: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], Observed]:
    """Remove the containers with other limits than they were made with, as no request gives back all of them.

    changed: by id how they differ. Returns a line for each replica, and what is left.
    """
    gone = [container for container in observed.containers if container.id in changed]
    lines = []
    for container in gone:
        lines.append(f"{container.labels.get(names.REPLICA)}: {', '.join(changed[container.id])}; given back")
        context.tell(container.labels.get(names.REPLICA, ""), Phase.HEALING, lines[-1].partition(": ")[2])
    each(lambda container: context.engine.remove_container(container.id), gone)
    return tuple(lines), observed.without(gone)
