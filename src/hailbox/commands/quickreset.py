"""`reset --quick`: the daemons discard their data themselves, and no container is removed.

Where anything is not as it should be, a real reset takes its place, so no stack is called clean that is not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from hailbox.commands import seed
from hailbox.commands.down import Removal
from hailbox.commands.reset import ResetResult, reset
from hailbox.commands.up import stack_result
from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe
from hailbox.probe.outcome import Outcome
from hailbox.stack import lock, situation
from hailbox.stack.heal import Healer, targets
from hailbox.stack.ports import LOOPBACK
from hailbox.stack.situation import Situation
from haild.client.emptying import NotEmptiedError, Place, empty

EMPTYING: Final = 5.0
"""Seconds for all daemons to empty themselves, and then for all of them to work."""


class _NotPossibleError(Exception):
    """Why the stack has to be reset in earnest."""


@dataclass
class QuickReset:
    """Resets a stack, as often as it is called. Between two calls the user's choices are taken as unchanged."""

    context: Context
    _known: tuple[frozenset[tuple[str, ContainerState]], Situation] | None = None
    """The containers of the last call, and what was found out about them."""

    def __call__(self) -> ResetResult:
        """Discard all data; returns when every service works. Raises what `reset` raises."""
        context = self.context
        try:
            with contextlib.ExitStack() as held, ThreadPoolExecutor(max_workers=1) as pool:
                held.enter_context(lock.exclusive(context))
                found = self._look()
                self._empty(found)
                # Probes change nothing, and to give the lock back takes the engine as long as they do.
                releasing = pool.submit(held.pop_all().close)
                outcomes = self._probe(found)
                releasing.result()
        except _NotPossibleError as error:
            self._known = None
            context.tell(context.stack, Phase.REMOVED, f"no quick reset: {error}")
            return replace(reset(context), reason=str(error))
        result = stack_result(found.planned, outcomes)
        removal = Removal(context.stack, False)
        seeded = seed.plant(context)
        return ResetResult(removal, replace(result, seeded=seeded, timings=tuple(context.spans)), quick=True)

    def _look(self) -> Situation:
        """Raises _NotPossibleError where a daemon might not be ours, or not be as it should."""
        context = self.context
        known = self._known
        if known and known[0] == _signature(context.engine.containers({names.STACK: context.stack})):
            return known[1]
        found = situation.look(context, holding=True)
        if found is None or found.kept is None:
            raise _NotPossibleError(_trouble(observe(context.engine, context.stack)))
        blueprint = found.planned.blueprint
        if blueprint.own_images or blueprint.overrides:
            raise _NotPossibleError("the stack has images or settings of your own")
        groups = [name for name, service in context.catalog.services.items() if service.group]
        if any(blueprint.profile.counts.get(name, 0) > 1 for name in groups):
            raise _NotPossibleError("several replicas share their data")
        self._known = (_signature(found.observed.containers), found)
        return found

    def _empty(self, found: Situation) -> None:
        wanted = targets(found.planned)
        ways = self.context.engine.reach([target.port for target in wanted])
        places = [Place(target.replica, target.service, LOOPBACK, ways[target.port]) for target in wanted]
        assert found.kept is not None  # noqa: S101 - `_look` has seen to it
        secret = found.kept.credentials["EMPTYING_SECRET"]
        try:
            with self.context.span("the daemons empty themselves"):
                asyncio.run(empty(places, secret, EMPTYING))
        except NotEmptiedError as error:
            raise _NotPossibleError(str(error)) from error

    def _probe(self, found: Situation) -> dict[str, Outcome]:
        assert found.kept is not None  # noqa: S101 - `_look` has seen to it
        healer = Healer(self.context, found.planned, found.kept.credentials)
        with self.context.span("probe"):
            outcomes = healer.watch([replica.name for replica in found.choice.profile.replicas], EMPTYING)
        for outcome in outcomes.values():
            if not outcome.working:
                raise _NotPossibleError(f"{outcome.replica} does not work: {outcome.reason}")
        return outcomes


def _signature(containers: Iterable[Container]) -> frozenset[tuple[str, ContainerState]]:
    """What no other state of the stack has. The lock's container is none of the stack's."""
    return frozenset((container.id, container.state) for container in containers)


def _trouble(observed: Observed) -> str:
    """Why a stack is not fit for a quick reset, as far as its containers show it."""
    if observed.empty or observed.down:
        return "the stack is not up"
    if any(names.purpose(c.labels.get(names.HELPER)) == names.FAULT for c in observed.containers):
        return "a fault is in effect"
    for container in observed.containers:
        replica = container.labels.get(names.REPLICA, container.name)
        if replica != ONE_SHOT and container.state is not ContainerState.RUNNING:
            return f"the container of {replica} is {container.state.value}"
    return "the stack is not as this release of hailbox and your settings want it"
