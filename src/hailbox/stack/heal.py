"""The ladder: restart what is sick, then make its container anew, then say so. Data is never discarded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from hailbox.engine.port import ContainerState
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.progress import Phase
from hailbox.probe.outcome import Credentials, Outcome, Reached
from hailbox.probe.watch import Target
from hailbox.stack import diagnosis
from hailbox.stack.context import Context
from hailbox.stack.observe import Observed, observe
from hailbox.stack.plan import Plan

COMPOSE_UP = ("up", "--detach", "--no-build", "--pull", "never", "--remove-orphans")

_STOP_TIMEOUT = 1
"""Seconds; the daemons stop within one, and lose nothing if they are killed."""

_RESTARTED_DEADLINE = 6.0
_RECREATED_DEADLINE = 12.0

Step = Callable[[str, Observed], None]


@dataclass
class Healer:
    """Climbs the ladder for one stack; `tried` tells how far it had to go."""

    context: Context
    plan: Plan
    credentials: Credentials
    tried: list[str] = field(default_factory=list)

    def heal(self, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
        """Make what does not work in `outcomes` work. Raises NotWorkingError or DataDamagedError."""
        current = dict(outcomes)
        ladder: list[tuple[str, Step, float]] = [
            ("restart", self._restart, _RESTARTED_DEADLINE),
            ("re-create", self._recreate, _RECREATED_DEADLINE),
        ]
        profile, catalog = self.plan.blueprint.profile, self.plan.blueprint.catalog
        for name, step, deadline in ladder:
            sick = [replica for replica, outcome in current.items() if not outcome.working]
            if not sick:
                return current
            roots = diagnosis.roots(sick, profile, catalog)
            self.tried += [f"{name} of {replica}" for replica in roots]
            for replica in roots:
                self.context.tell(replica, Phase.HEALING, f"{name}: {current[replica].reason}")
            observed = observe(self.context.engine, self.context.stack)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda replica, run=step, seen=observed: run(replica, seen), roots))
            if name == "re-create":
                self.context.engine.compose(names.project(self.context.stack), self.plan.file, COMPOSE_UP)
            current |= self.watch(sick, deadline)
        if all(outcome.working for outcome in current.values()):
            return current
        observed = observe(self.context.engine, self.context.stack)
        raise diagnosis.explain(self.context.engine, observed, current, profile, catalog, self.tried)

    def watch(self, replicas: list[str], deadline: float) -> dict[str, Outcome]:
        """Probe these replicas until they work or the deadline has passed; seconds count from the command's start."""
        wanted = [target for target in targets(self.plan) if target.replica in replicas]
        before = time.monotonic() - self.context.started
        seen = self.context.watch(wanted, self.credentials, deadline=deadline, on_change=self._tell)
        return {name: replace(outcome, seconds=before + outcome.seconds) for name, outcome in seen.items()}

    def _tell(self, outcome: Outcome) -> None:
        phase = Phase.WORKING if outcome.reached is Reached.FUNCTION else Phase.SERVING
        self.context.tell(outcome.replica, phase)

    def _restart(self, replica: str, observed: Observed) -> None:
        for container in observed.of(replica):
            if container.state is ContainerState.PAUSED:
                self.context.engine.unpause_container(container.id)
            self.context.engine.restart_container(container.id, stop_timeout=_STOP_TIMEOUT)

    def _recreate(self, replica: str, observed: Observed) -> None:
        for container in (*observed.of(replica), *observed.of(ONE_SHOT)):
            self.context.engine.remove_container(container.id)


def targets(plan: Plan) -> list[Target]:
    """Every replica of the plan with its first port."""
    catalog = plan.blueprint.catalog
    return [
        Target(replica.name, replica.service, plan.blueprint.ports[replica.name, port.name])
        for replica in plan.blueprint.profile.replicas
        for port in catalog.services[replica.service].ports[:1]
    ]
