"""The ladder: restart what is sick, then make its container anew, then say so. Data is never discarded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import tenacity

from hailbox.context import Context
from hailbox.diagnosis import evidence as diagnosis
from hailbox.engine.port import ContainerState
from hailbox.helper import lostprocesses as strays
from hailbox.helper import volumecheck as writing
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe
from hailbox.probe import patience
from hailbox.probe.outcome import Credentials, Outcome, Reached
from hailbox.probe.watch import Target
from hailbox.stack import converge
from hailbox.stack.plan import Plan

_STOP_TIMEOUT = 0
"""Seconds; a sick daemon is killed at once: it would not stop, and loses nothing."""

_SLICE = 4.0
"""Seconds after which a service that does not come is looked at: waiting on is in vain if its data is damaged."""

_CONFIGURATION_DEADLINE = 5.0
"""Seconds for the one-shot container to write the configuration files anew."""

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
    _held: bool = False
    """Whether a daemon said, when it was looked at last, that another process has its data."""
    _looked: bool = False
    """Whether it has looked for such processes."""

    def wait(self, deadline: float, replicas: list[str] | None = None) -> dict[str, Outcome]:
        """Probe these replicas (None: all) until they work or the deadline has passed, which is as much later as the
        host is overloaded; or until one cannot work before who has its data has been looked for. Raises
        DataDamagedError, ClockSkewError.
        """
        sick = replicas or [replica.name for replica in self.plan.blueprint.profile.replicas]
        outcomes: dict[str, Outcome] = {}
        waited, factor = 0.0, 1.0
        while sick and waited < deadline * factor:
            piece = min(deadline * factor - waited, _SLICE)
            with patience.granted(factor):
                outcomes |= self.watch(sick, piece)
            waited += piece
            sick = [replica for replica in sick if not outcomes[replica].working]
            self._held = self._look_at(outcomes)
            self._refuse_skewed(outcomes)
            if self._held and not self._looked:
                break
            factor = max(factor, patience.strain()) if sick else factor
        return outcomes

    def _refuse_skewed(self, outcomes: Mapping[str, Outcome]) -> None:
        """Raise ClockSkewError if nothing is wrong but the clocks: no rung of the ladder sets one."""
        sick = [outcome for outcome in outcomes.values() if not outcome.working]
        if sick and all(outcome.skew is not None for outcome in sick):
            raise diagnosis.clock_skew(sick[0])

    def _look_at(self, outcomes: Mapping[str, Outcome]) -> bool:
        """Whether a daemon says that another process has its data.

        Raises DataDamagedError if one has ended because of its data: no rung of the ladder helps.
        """
        sick = [outcome for outcome in outcomes.values() if not outcome.working]
        observed = observe(self.context.engine, self.context.stack) if sick else None
        held = False
        for outcome in sick if observed else ():
            assert observed is not None  # noqa: S101 - for the type checker
            found = diagnosis.examine(self.context.engine, observed, outcome)
            held = held or found.holders is not None
            if found.exit_code == diagnosis.DAMAGED_DATA_STATUS:
                followers = [other.replica for other in sick if other is not outcome]
                raise diagnosis.error(found, followers, self.tried, self.context.stack)
        return held

    def _refuse_unwritable(self, outcomes: Mapping[str, Outcome], roots: list[str], observed: Observed) -> None:
        """Raise the error if a volume itself cannot be written: a new container would not be able to, either."""
        engine = self.context.engine
        for replica in roots:
            for container in observed.of(replica):
                if trouble := writing.look(engine, observed, container):
                    found = replace(diagnosis.examine(engine, observed, outcomes[replica]), trouble=trouble)
                    others = [name for name, other in outcomes.items() if not other.working and name != replica]
                    raise diagnosis.error(found, others, self.tried, self.context.stack)

    def heal(self, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
        """Make what does not work in `outcomes` work. Raises NotWorkingError, DataDamagedError, ClockSkewError."""
        current = dict(outcomes)
        self._end_strays()
        ladder: list[tuple[str, Step, float]] = [
            ("restart", self._restart, _RESTARTED_DEADLINE),
            ("re-create", self._recreate, _RECREATED_DEADLINE),
        ]
        profile, catalog = self.plan.blueprint.profile, self.plan.blueprint.catalog
        for name, step, deadline in ladder:
            sick = [replica for replica, outcome in current.items() if not outcome.working and outcome.skew is None]
            if not sick:
                break
            roots = diagnosis.roots(sick, profile, catalog)
            self.tried += [f"{name} of {replica}" for replica in roots]
            for replica in roots:
                self.context.tell(replica, Phase.HEALING, f"{name}: {current[replica].reason}")
            self._write_configuration()
            observed = observe(self.context.engine, self.context.stack)
            if name == "re-create":
                self._refuse_unwritable(current, roots, observed)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda replica, run=step, seen=observed: run(replica, seen), roots))
            if name == "re-create":
                converge.make(self.context, self.plan)
            current |= self.wait(deadline, sick)
        if all(outcome.working for outcome in current.values()):
            return current
        self._refuse_skewed(current)
        observed = observe(self.context.engine, self.context.stack)
        raise diagnosis.explain(self.context.engine, observed, current, profile, catalog, self.tried)

    def _end_strays(self) -> None:
        """End who has the data of a replica that does not work, if it is nobody's."""
        self._looked = True
        observed = observe(self.context.engine, self.context.stack)
        done = strays.end(self.context, observed) if self._held else strays.end_suspected(self.context, observed)
        if done:
            self.tried += done
            converge.make(self.context, self.plan)

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
        for container in observed.of(replica):
            self.context.engine.remove_container(container.id)

    def _write_configuration(self) -> None:
        """Run the one-shot container again: a file that somebody has changed may be what makes a daemon sick."""
        engine, stack = self.context.engine, self.context.stack
        for container in observe(engine, stack).of(ONE_SHOT):
            engine.start_container(container.id)
        tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda ended: not ended),
            wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.2),
            stop=tenacity.stop_after_delay(_CONFIGURATION_DEADLINE),
            retry_error_callback=lambda _state: None,  # the probes say what follows from it
        )(lambda: all(c.state is ContainerState.EXITED for c in observe(engine, stack).of(ONE_SHOT)))


def targets(plan: Plan) -> list[Target]:
    """Every replica of the plan with its first port."""
    catalog = plan.blueprint.catalog
    return [
        Target(replica.name, replica.service, plan.blueprint.ports[replica.name, port.name])
        for replica in plan.blueprint.profile.replicas
        for port in catalog.services[replica.service].ports[:1]
    ]
