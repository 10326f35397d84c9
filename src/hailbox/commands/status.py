"""`status` and `wait`: how a stack is, without changing it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import tenacity

from hailbox.commands.result import ReplicaResult, StackResult, endpoints
from hailbox.context import Context
from hailbox.diagnosis import roots
from hailbox.diagnosis.roots import Case
from hailbox.engine.port import ContainerState, Engine
from hailbox.model.catalog import Profile
from hailbox.model.errors import NotWorkingError
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe, present
from hailbox.probe import iwhd
from hailbox.probe import watch as probes
from hailbox.probe.outcome import Outcome, Reached
from hailbox.probe.watch import Target
from hailbox.stack import credentials, selection
from hailbox.stack.choice import choose
from hailbox.stack.ports import LOOPBACK


@dataclass(frozen=True)
class Seen:
    """A stack as `see` found it."""

    result: StackResult
    case: Case
    """What a diagnosis needs."""


def status(context: Context) -> StackResult:
    """Probe every replica once. Raises UnknownStackError."""
    return see(context, present(context.engine, context.stack)).result


def see(context: Context, observed: Observed) -> Seen:
    """Probe every replica of a stack that was observed."""
    profile = choose(context, observed).profile
    outcomes, has_credentials = _probe(context, observed, profile)
    where = endpoints(observed.ports)
    replicas = tuple(
        ReplicaResult(
            replica.name,
            replica.service,
            outcomes[replica.name].working,
            where.get(replica.name, ""),
            outcomes[replica.name].seconds,
            outcomes[replica.name].reason,
        )
        for replica in profile.replicas
    )
    open_to_all = tuple(_without_login(context.engine, replicas, observed.ports))
    result = StackResult(context.stack, profile.name, replicas, down=observed.down, notes=open_to_all)
    return Seen(result, Case(context, observed, profile, outcomes, has_credentials))


def _without_login(
    engine: Engine, replicas: Iterable[ReplicaResult], ports: Mapping[tuple[str, str], int]
) -> Iterator[str]:
    """A line for each warehouse that answers clients without a login."""
    for replica in replicas:
        port = ports.get((replica.replica, "iwhd"))
        if replica.working and port is not None and iwhd.is_open(LOOPBACK, engine.reach([port])[port]):
            yield f"{replica.replica}: no login; every program on this machine can read and change what it keeps"


def _probe(context: Context, observed: Observed, profile: Profile) -> tuple[dict[str, Outcome], bool]:
    """Probe every replica of the profile once; the outcomes by replica, also of those that have no container, and
    whether the stack has credentials."""
    ports = observed.ports
    with ThreadPoolExecutor(max_workers=1) as pool:
        # The engine takes long to hand out a file.
        reading = pool.submit(credentials.read, context.engine, observed)
        probes.load(profile.services)
        secrets = reading.result()
    outcomes: dict[str, Outcome] = {}
    targets: list[Target] = []
    for replica in profile.replicas:
        containers = observed.of(replica.name)
        port = next((number for (name, _), number in ports.items() if name == replica.name), None)
        if not containers:
            outcomes[replica.name] = Outcome(replica.name, Reached.NOTHING, "it has no container", 0.0)
        elif containers[0].state is not ContainerState.RUNNING:
            reason = f"its container is {containers[0].state.value}"
            outcomes[replica.name] = Outcome(replica.name, Reached.NOTHING, reason, 0.0)
        elif secrets is None or port is None:
            outcomes[replica.name] = Outcome(replica.name, Reached.NOTHING, "its credentials are missing", 0.0)
        else:
            targets.append(Target(replica.name, replica.service, port))
    if targets and secrets is not None:
        ways = context.engine.reach([target.port for target in targets])
        targets = [replace(target, port=ways[target.port]) for target in targets]
        outcomes |= context.watch(targets, secrets, deadline=0, on_change=lambda outcome: None)
    return outcomes, secrets is not None


def _works(seen: Seen, wanted: Sequence[str]) -> bool:
    result = seen.result
    replicas = selection.chosen(result.stack, selection.of_profile(seen.case.profile), wanted)
    return all(replica.working for replica in result.replicas if replica.replica in replicas)


def wait(context: Context, *, deadline: float, wanted: Sequence[str] = ()) -> StackResult:
    """Wait until the stack works, or the `wanted` services and replicas of it, `deadline` seconds at most.

    Then raise what is at the root of its trouble. Raises UnknownServiceError.
    """

    def look() -> Seen | None:
        observed = observe(context.engine, context.stack)
        return None if observed.empty else see(context, observed)

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda seen: seen is None or not _works(seen, wanted)),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=0.5),
        stop=tenacity.stop_after_delay(deadline),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    context.tell(context.stack, Phase.WAITING)
    seen = attempts(look)
    if seen is None:
        raise NotWorkingError(
            f"there is still no stack {context.stack!r} after {deadline:g} s",
            f"bring it up with: hailbox --stack {context.stack} up",
        )
    if not _works(seen, wanted):
        raise roots.find(seen.case)[0]
    return seen.result
