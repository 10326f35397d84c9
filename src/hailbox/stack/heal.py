"""The ladder: restart what is sick, then re-create its container, then say so. Data is never discarded."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

import tenacity

from hailbox.context import Context
from hailbox.diagnosis import evidence, roots
from hailbox.diagnosis.replica import Patient, cannot_write, clock_skew, cut_off, permanent
from hailbox.diagnosis.roots import Case
from hailbox.engine.port import ContainerState
from hailbox.helper import lostprocesses, volumecheck
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import DataInUseError, HailboxError, NetworkBlockedError, WrongOwnerError
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe
from hailbox.probe import patience
from hailbox.probe.outcome import Credentials, Outcome, Reached
from hailbox.probe.watch import Target
from hailbox.stack import converge
from hailbox.stack.plan import Plan
from hailbox.stack.removal import each

_STOP_TIMEOUT: Final = 0
"""Seconds; a sick daemon is killed at once: it would not stop, and loses nothing."""

_LOOKS: Final = (2.0, 1.5)
_SLICE: Final = 4.0
"""Seconds of probing, first and later, after which a service that does not come is looked at: to wait on would be in
vain if its data is damaged. A cause that stays is told within 5 s, the look included."""

_CONFIGURATION_DEADLINE: Final = 5.0
"""Seconds for the one-shot container to write the configuration files again."""

_RESTARTED_DEADLINE: Final = 6.0
_RECREATED_DEADLINE: Final = 12.0
"""Seconds for a service to work after that step."""

Step = Callable[[str, Observed], None]


@dataclass
class Healer:
    """Climbs the ladder for one stack; `tried` tells how far it went."""

    context: Context
    plan: Plan
    credentials: Credentials
    tried: list[str] = field(default_factory=list)
    _held: bool = False
    """Whether a daemon had ended, at the last look, because another process has its data."""
    _given_back: set[str] = field(default_factory=set)
    """Replicas whose data was given back to the user that they run as."""
    _looked: bool = False
    """Whether lost processes were looked for."""
    _crashing: bool = False
    """Whether, at the last look, a daemon of ours ended again and again: none waits for others in that way."""

    def wait(self, deadline: float, replicas: list[str] | None = None) -> dict[str, Outcome]:
        """Probe these replicas (None: all) until they work or the deadline passes; an overloaded host gets more time.

        Returns early if another process holds the data of one, so that the caller can look for that process, and if
        one crashes, so that the next step comes at once. Raises DataDamagedError, VolumeFullError,
        VolumeReadOnlyError, LimitTooSmallError, ClockSkewError: to wait on would be in vain.
        """
        sick = replicas or [replica.name for replica in self.plan.blueprint.profile.replicas]
        outcomes: dict[str, Outcome] = {}
        waited, factor = 0.0, 1.0
        slices = itertools.chain(_LOOKS if deadline > _SLICE else (), itertools.repeat(_SLICE))
        while sick and waited < deadline * factor:
            piece = min(deadline * factor - waited, next(slices))
            with patience.granted(factor):
                outcomes |= self.watch(sick, piece)
            waited += piece
            sick = [replica for replica in sick if not outcomes[replica].working]
            self._held = self._look_at(outcomes)
            self._refuse_skewed(outcomes)
            if self._crashing or (self._held and not self._looked):
                break
            factor = max(factor, patience.strain()) if sick else factor
        return outcomes

    def _refuse_skewed(self, outcomes: Mapping[str, Outcome]) -> None:
        """Raise ClockSkewError if only the clocks are wrong: no rung of the ladder sets one."""
        sick = [outcome for outcome in outcomes.values() if not outcome.working]
        if sick and all(outcome.skew is not None for outcome in sick):
            raise clock_skew(sick[0])

    def _look_at(self, outcomes: Mapping[str, Outcome]) -> bool:
        """Whether a daemon has ended because another process has its data.

        Raises the error of one that has ended for a cause that no rung of the ladder removes.
        """
        self._crashing = False
        sick = [outcome for outcome in outcomes.values() if not outcome.working]
        if not sick:
            return False
        observed = observe(self.context.engine, self.context.stack)
        held = False
        for outcome in sick:
            followers = [other.replica for other in sick if other is not outcome]
            seen = evidence.collect(self.context, observed, outcome)
            patient = Patient(self.context, seen, followers, self.tried)
            found = permanent(patient)
            self._crashing = self._crashing or (found is None and seen.crashing and patient.image_is_ours)
            if isinstance(found, WrongOwnerError) and outcome.replica not in self._given_back:
                self._give_back(outcome.replica, observed)
            elif isinstance(found, DataInUseError):
                held = True
            elif found is not None:
                raise found
        return held

    def _give_back(self, replica: str, observed: Observed) -> None:
        """Mend the owner of a replica's data, and start its daemon again."""
        self._given_back.add(replica)
        self.tried.append(f"return of the data of {replica} to its owner")
        self.context.tell(replica, Phase.HEALING, "its data belongs to another user: giving it back")
        for container in observed.of(replica):
            volumecheck.give_back(self.context, observed, container)
            self.context.engine.restart_container(container.id, stop_timeout=_STOP_TIMEOUT)

    def _refuse_unwritable(self, outcomes: Mapping[str, Outcome], replicas: list[str], observed: Observed) -> None:
        """Raise the error if a volume itself cannot be written: a new container would not be able to, either."""
        for replica in replicas:
            others = [name for name, other in outcomes.items() if not other.working and name != replica]
            seen = evidence.collect(self.context, observed, outcomes[replica])
            if found := cannot_write(Patient(self.context, seen, others, self.tried)):
                raise found

    def heal(self, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
        """Make what does not work in `outcomes` work. Raises what the diagnosis is of what still does not."""
        current = dict(outcomes)
        self._end_lost_processes()
        current = self._mend_network(current)
        ladder: list[tuple[str, Step, float]] = [
            ("restart", self._restart, _RESTARTED_DEADLINE),
            ("re-create", self._recreate, _RECREATED_DEADLINE),
        ]
        profile, catalog = self.plan.blueprint.profile, self.plan.blueprint.catalog
        for name, step, deadline in ladder:
            sick = [replica for replica, outcome in current.items() if not outcome.working and outcome.skew is None]
            if not sick:
                break
            sick_roots = roots.roots(sick, profile, catalog)
            self.tried += [f"{name} of {replica}" for replica in sick_roots]
            for replica in sick_roots:
                self.context.tell(replica, Phase.HEALING, f"{name}: {current[replica].reason}")
            self._write_configuration()
            observed = observe(self.context.engine, self.context.stack)
            if name == "re-create":
                self._refuse_unwritable(current, sick_roots, observed)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda replica, run=step, seen=observed: run(replica, seen), sick_roots))
            if name == "re-create":
                converge.apply(self.context, self.plan)
            current |= self.wait(deadline, sick)
        if all(outcome.working for outcome in current.values()):
            return current
        self._refuse_skewed(current)
        raise self._diagnosis(current)

    def _mend_network(self, outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
        """Make the stack's network again if packets between its containers are lost: the engine's rules for it, which
        a flush of the packet filter removes, come with it. Raises NetworkBlockedError if that does not help."""
        profile, catalog = self.plan.blueprint.profile, self.plan.blueprint.catalog
        sick = [name for name, outcome in outcomes.items() if not outcome.working and outcome.skew is None]
        blocked = self._blocked(outcomes, roots.roots(sick, profile, catalog)) if sick else None
        if blocked is None:
            return outcomes
        observed = observe(self.context.engine, self.context.stack)
        self.tried.append("re-creation of the stack's network")
        services = [c for c in observed.containers if c.labels.get(names.SERVICE) not in (None, ONE_SHOT)]
        for container in services:
            self.context.tell(container.labels.get(names.REPLICA, ""), Phase.HEALING, "the network is made again")
        each(lambda container: self.context.engine.remove_container(container.id), services)
        for network in observed.networks:
            self.context.engine.remove_network(network.id)
        converge.apply(self.context, self.plan)
        healed = outcomes | self.wait(_RECREATED_DEADLINE)
        sick = [name for name, outcome in healed.items() if not outcome.working and outcome.skew is None]
        if sick and (still := self._blocked(healed, roots.roots(sick, profile, catalog))):
            raise still
        return healed

    def _blocked(self, outcomes: Mapping[str, Outcome], replicas: list[str]) -> HailboxError | None:
        """The error if one of these replicas does not reach another one of the stack over the network."""
        observed = observe(self.context.engine, self.context.stack)
        for replica in replicas:
            if not observed.of(replica):
                continue
            others = [name for name, other in outcomes.items() if not other.working and name != replica]
            seen = evidence.collect(self.context, observed, outcomes[replica])
            found = cut_off(Patient(self.context, seen, others, self.tried))
            if isinstance(found, NetworkBlockedError):
                return found
        return None

    def _diagnosis(self, outcomes: Mapping[str, Outcome]) -> HailboxError:
        """Why the stack still does not work; a clock that is wrong beside that is not the root of it."""
        observed = observe(self.context.engine, self.context.stack)
        sick = {name: outcome for name, outcome in outcomes.items() if outcome.skew is None}
        found = roots.find(Case(self.context, observed, self.plan.blueprint.profile, sick, tried=self.tried))
        return found[0]

    def _end_lost_processes(self) -> None:
        """End processes that hold the data of a sick replica and belong to no container."""
        self._looked = True
        observed = observe(self.context.engine, self.context.stack)
        end = lostprocesses.end if self._held else lostprocesses.end_suspected
        if done := end(self.context, observed):
            self.tried += done
            converge.apply(self.context, self.plan)

    def watch(self, replicas: list[str], deadline: float) -> dict[str, Outcome]:
        """Probe these replicas until they work or the deadline has passed; seconds count from the command's start."""
        wanted = [target for target in targets(self.plan) if target.replica in replicas]
        before = time.monotonic() - self.context.started
        ways = self.context.engine.reach([target.port for target in wanted])
        wanted = [replace(target, port=ways[target.port]) for target in wanted]
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
        """Run the one-shot container again: a file that was changed by hand may be what makes a daemon sick."""
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
