"""`up`: from whatever is there to a stack of which every service works. Never discards data."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from hailbox.commands import seed
from hailbox.commands.result import ReplicaResult, StackResult, endpoints
from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState
from hailbox.helper import lostprocesses, settle
from hailbox.model.catalog import ONE_SHOT
from hailbox.observe import Observed, observe
from hailbox.probe.outcome import Outcome
from hailbox.stack import converge, credentials, differences, lock, plan, taken
from hailbox.stack.heal import Healer
from hailbox.stack.plan import Plan
from hailbox.stack.situation import Situation, look, prepare

FRESH_DEADLINE: Final = 20.0
"""Seconds in which a service that was just started has to work before it is restarted."""

STEADY_DEADLINE: Final = 2.5
"""Seconds in which a service that has been running has to work before it is restarted."""


_GLANCE: Final = 0.5
"""Seconds for a stack that seems well to show it; a working one takes a tenth of that."""


def up(context: Context) -> StackResult:
    """Make every service of the stack work, and return where each is reached.

    Raises HailboxError: NotWorkingError or DataDamagedError where a service cannot be made to work, ClockSkewError
    where all work and refuse our requests as too old or too new.
    """
    if result := _as_it_is(context):
        return result
    with lock.exclusive(context):
        seed.begin_if_new(context)
        result = bring_up(context)
        return replace(result, seeded=seed.plant_if_due(context))


def _as_it_is(context: Context) -> StackResult | None:
    """The result for a stack to which nothing has to be done, which takes no lock; None for any other."""
    situation = look(context)
    if situation is None or situation.kept is None or seed.is_due(context, situation.observed):
        return None
    with context.span("probe"):
        healer = Healer(context, situation.planned, situation.kept.credentials)
        outcomes = healer.watch([replica.name for replica in situation.choice.profile.replicas], _GLANCE)
    if not all(outcome.working for outcome in outcomes.values()):
        return None
    return replace(stack_result(situation.planned, outcomes), timings=tuple(context.spans))


def bring_up(context: Context, discarded: Collection[str] = (), situation: Situation | None = None) -> StackResult:
    """What `up` does, for a command that holds the stack's lock.

    discarded: the replicas whose data the command has discarded. situation: what it has worked out already.
    """
    told = situation is not None  # `reset` tells before it discards
    situation = situation or prepare(context)
    observed, planned, kept = situation.observed, situation.planned, situation.kept
    known = kept.credentials if kept else None
    changed = plan.outdated(planned, observed)
    differing = differences.lines(observed.record, planned)
    if not told:
        differences.tell(context, observed.record, planned)
    lost = [replica for replica in plan.lost(planned, observed) if replica not in discarded]
    if changed:
        taken.refuse(context, planned, observed)
        usable = kept if ONE_SHOT not in changed else None
        planned, secrets = converge.converge(context, situation, usable)
    else:
        secrets = known or _new_credentials(context)
    restarted = secrets != known and _restart_what_ran(context, observed)
    renewed = credentials.lost(context.engine, observe(context.engine, context.stack)) if secrets != known else ()
    fresh = changed or restarted or situation.restored or situation.recreated
    healer = Healer(context, planned, secrets)
    with _ending(context, situation.restored), context.span("probe until all work"):
        outcomes = healer.wait(FRESH_DEADLINE if fresh else STEADY_DEADLINE)
    healed = tuple(name for name, outcome in outcomes.items() if not outcome.working)
    if healed:
        with context.span("heal"):
            outcomes = healer.heal(outcomes)
    # That an engine starts one again and again shows only a while after its first start.
    if fresh and lostprocesses.end_suspected(context, observe(context.engine, context.stack)):
        converge.apply(context, planned)
        outcomes = healer.heal(healer.wait(FRESH_DEADLINE))
    return replace(
        stack_result(planned, outcomes),
        changed=(*situation.recreated, *changed),
        differences=(*differing, *situation.drifted),
        healed=healed,
        lost=tuple(lost),
        lost_credentials=renewed,
        ended_faults=situation.ended_faults,
        timings=tuple(context.spans),
    )


@contextlib.contextmanager
def _ending(context: Context, restored: Collection[Container]) -> Iterator[None]:
    """Meanwhile end the helpers that have restored a snapshot."""
    if not restored:
        yield
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        ending = pool.submit(settle.end_restores, context, restored)
        yield
        ending.result()


def _new_credentials(context: Context) -> Mapping[str, str]:
    for container in observe(context.engine, context.stack).of(ONE_SHOT):
        if container.state is ContainerState.EXITED:
            context.engine.start_container(container.id)
    return credentials.await_them(context.engine, context.stack)


def _restart_what_ran(context: Context, before: Observed) -> bool:
    """Restart the services that ran before and do now: the credentials that they have read are gone."""
    engine = context.engine
    running = {c.id for c in observe(engine, context.stack).containers if c.state is ContainerState.RUNNING}
    stale = [c.id for c in before.containers if c.state is ContainerState.RUNNING and c.id in running]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda identifier: engine.restart_container(identifier, stop_timeout=1), stale))
    return bool(stale)


def stack_result(planned: Plan, outcomes: dict[str, Outcome]) -> StackResult:
    """The stack of a plan, with what its probes have found."""
    where = endpoints(planned.blueprint.ports)
    replicas = tuple(
        ReplicaResult(replica.name, replica.service, outcome.working, where[replica.name], outcome.seconds)
        for replica in planned.blueprint.profile.replicas
        if (outcome := outcomes.get(replica.name))
    )
    return StackResult(
        planned.blueprint.stack, planned.blueprint.profile.name, replicas, substitutions=planned.substitutions
    )
