"""Bringing a fault about: the helper container that makes it, and waiting until it is in effect."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hailbox.commands.status import stack_down
from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState, Helper
from hailbox.fault.active import described
from hailbox.fault.result import Fault
from hailbox.helper import faultprogram as program
from hailbox.helper import run as helpers
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import FaultActiveError, FaultFailedError, NotWorkingError, UnknownServiceError, UsageError
from hailbox.observe import Observed, present
from hailbox.stack import lock

PROCESS = ("kill", "stop", "pause")
CHOICE_DEADLINE = 60.0
_VOLUME = "/volume"
_READY = b"ready"


@dataclass(frozen=True)
class Asked:
    """A fault as it was asked for; what does not belong to its kind is left at its default."""

    kind: str
    """kill, stop, pause, partition, isolate, slow, fill-disk, corrupt."""
    replica: str
    peer: str | None = None
    """Of a partition."""
    seconds: float | None = None
    """After how long it ends by itself."""
    delay: float = 0.0
    """Seconds by which each packet that the replica sends comes later."""
    loss: float = 0.0
    """Share, 0 to 1, of the packets that the replica sends and that get lost."""
    file: str = ""
    """The file to corrupt, relative to the replica's data directory; empty: the largest body."""


@dataclass(frozen=True)
class _Recipe:
    """What the helper needs beyond what all have."""

    command: tuple[str, ...]
    identifier: str
    targets: tuple[str, ...]
    detail: str = ""
    mounts: Mapping[str, str] = field(default_factory=dict)
    network: str = "none"
    host_processes: bool = False
    capabilities: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


def inject(context: Context, asked: Asked) -> Fault:
    """Bring a fault about; returns when it is in effect.

    Raises UnknownStackError, UnknownServiceError, FaultActiveError, NotWorkingError if the replica does not run,
    FaultFailedError if this engine's kernel cannot do it.
    """
    if asked.kind == "slow" and not (asked.delay or asked.loss):
        raise UsageError(
            "slow needs --delay, --loss, or both", f"for example: hailbox fault slow {asked.replica} --delay 200ms"
        )
    with lock.exclusive(context):
        observed = present(context.engine, context.stack)
        until = time.time() + asked.seconds if asked.seconds else None
        recipe = _recipe(context, observed, asked, until)
        _make_room(context, observed, recipe)
        labels = {
            names.STACK: context.stack,
            names.HELPER: names.FAULT,
            names.FAULT_KIND: asked.kind,
            names.FAULT_TARGETS: " ".join(recipe.targets),
            names.FAULT_DETAIL: recipe.detail,
        } | ({names.FAULT_UNTIL: f"{until:.3f}"} if until else {})
        helper = Helper(
            name=names.fault_container(context.stack, recipe.identifier),
            image=_image(context, observed),
            command=recipe.command,
            labels=labels,
            mounts=recipe.mounts,
            network=recipe.network,
            host_processes=recipe.host_processes,
            capabilities=recipe.capabilities,
            devices=recipe.devices,
            restart_on_failure=True,
        )
        _start(context, helper)
    return described(helper.name, context.stack, labels)


def _image(context: Context, observed: Observed) -> str:
    """The runtime image, which the stack's one-shot container was made from."""
    for container in observed.of(ONE_SHOT):
        return container.image_id
    raise NotWorkingError(
        f"stack {context.stack} is half made", f"bring it up first: hailbox --stack {context.stack} up"
    )


def _make_room(context: Context, observed: Observed, recipe: _Recipe) -> None:
    """Remove the helper of such a fault that has ended. Raises FaultActiveError if it has not."""
    active = {helpers.fault_id(container) for container in helpers.active_faults(observed)}
    if recipe.identifier in active:
        raise FaultActiveError(
            f"{recipe.identifier} is in effect already",
            f"end it first: hailbox --stack {context.stack} fault clear {recipe.identifier}",
        )
    for container in helpers.of_kind(observed, names.FAULT):
        if helpers.fault_id(container) not in active:
            context.engine.remove_container(container.id)


def _start(context: Context, helper: Helper) -> None:
    """Start the helper and wait until it says that the fault is in effect. Raises FaultFailedError."""
    engine = context.engine
    identifier = engine.create_helper(helper)
    said: list[str] = []
    try:
        engine.start_container(identifier)
        for line in engine.logs(identifier, follow=True):
            text = line.partition(b" ")[2]
            if text == _READY:
                return
            said.append(text.decode(errors="replace"))
    except BaseException:
        engine.stop_container(identifier, stop_timeout=3)
        engine.remove_container(identifier)
        raise
    engine.remove_container(identifier)
    raise FaultFailedError(
        f"the fault did not come about: {'; '.join(said[-3:]) or 'its helper ended without a word'}",
        f"see that the replica runs: hailbox --stack {context.stack} status",
    )


def find(context: Context, observed: Observed, wanted: str) -> Container:
    """The container of a replica; of a service, too, that has but one.

    Raises UnknownServiceError, StackDownError, and NotWorkingError if it does not run.
    """
    if observed.down:
        raise stack_down(context.stack)
    services = [c for c in observed.containers if c.labels.get(names.REPLICA, ONE_SHOT) != ONE_SHOT]
    found = [c for c in services if wanted in (c.labels[names.REPLICA], c.labels.get(names.SERVICE))]
    if len(found) != 1:
        known = ", ".join(sorted(container.labels[names.REPLICA] for container in services))
        problem = (
            f"{wanted!r} means several replicas" if found else f"stack {context.stack} has no replica {wanted!r}"
        )
        raise UnknownServiceError(problem, f"choose one of: {known}")
    if found[0].state is not ContainerState.RUNNING:
        raise NotWorkingError(
            f"{found[0].labels[names.REPLICA]} does not run: its container is {found[0].state.value}",
            f"bring it up first: hailbox --stack {context.stack} up",
        )
    return found[0]


def _recipe(context: Context, observed: Observed, asked: Asked, until: float | None) -> _Recipe:
    target = find(context, observed, asked.replica)
    replica = target.labels[names.REPLICA]
    arguments: dict[str, Any] = {"kind": asked.kind, "until": until}
    if asked.kind in PROCESS:
        return _Recipe(
            program.agent("process", "Hold", arguments | {"container": target.id}),
            f"{asked.kind}-{replica}",
            (replica,),
            host_processes=True,
            capabilities=("KILL",),
        )
    if asked.kind == "fill-disk":
        return _Recipe(
            program.agent("nospace", "NoSpace", arguments | {"container": target.id, "root": _data(context, target)}),
            f"fill-disk-{replica}",
            (replica,),
            host_processes=True,
            capabilities=("SYS_PTRACE", "DAC_READ_SEARCH", "KILL"),
        )
    if asked.kind == "corrupt":
        return _corruption(context, observed, asked, target, arguments)
    return _network(context, observed, asked, target, arguments)


def _network(
    context: Context, observed: Observed, asked: Asked, target: Container, arguments: Mapping[str, Any]
) -> _Recipe:
    targets: Sequence[str] = (target.labels[names.REPLICA],)
    details = []
    if asked.kind == "partition":
        peer = find(context, observed, asked.peer or "").labels[names.REPLICA]
        if peer == targets[0]:
            raise UsageError(f"{peer} cannot be parted from itself", "name two replicas")
        targets = sorted((*targets, peer))
        target = find(context, observed, targets[0])
        arguments = {**arguments, "peers": [targets[1]]}
    if asked.delay:
        details.append(f"what it sends comes {asked.delay:g} s later")
    if asked.loss:
        details.append(f"{asked.loss:.0%} of what it sends get lost")
    return _Recipe(
        program.agent("network", "Network", {**arguments, "delay": asked.delay, "loss": asked.loss}),
        "-".join((asked.kind, *targets)),
        tuple(targets),
        detail=", ".join(details),
        network=f"container:{target.id}",
        capabilities=("NET_ADMIN", "NET_RAW"),
        devices=("/dev/net/tun",),
    )


def _data(context: Context, target: Container) -> str:
    """The replica's data directory, as its daemon sees it. Raises UsageError if it has none."""
    directory = context.catalog.services[target.labels[names.SERVICE]].data
    if not directory:
        raise UsageError(f"{target.labels[names.REPLICA]} keeps no data", "choose a replica that does")
    return directory


def _corruption(
    context: Context, observed: Observed, asked: Asked, target: Container, arguments: Mapping[str, Any]
) -> _Recipe:
    _data(context, target)
    replica = target.labels[names.REPLICA]
    volume = names.data_volume(context.stack, context.catalog.keeper(replica))
    looking = Helper(
        name=names.fault_container(context.stack, f"look-{replica}"),
        image=_image(context, observed),
        command=program.choice(_VOLUME, asked.file),
        labels={names.STACK: context.stack, names.HELPER: names.SAVE},
        mounts={volume: f"{_VOLUME}:ro"},
        capabilities=("DAC_READ_SEARCH",),
    )
    helpers.discard(context, observed, looking.name)
    found = json.loads(context.engine.run_helper(looking, deadline=CHOICE_DEADLINE))
    if "missing" in found:
        raise UsageError(
            f"nothing of {replica} was corrupted: {found['missing']}", "see: hailbox fault corrupt --help"
        )
    mark = hashlib.sha256(found["file"].encode()).hexdigest()[:6]
    return _Recipe(
        program.agent("corruption", "Corruption", {**arguments, **found, "root": _VOLUME}),
        f"corrupt-{replica}-{mark}",
        (replica,),
        detail=f"{found['length']} bytes at offset {found['offset']} of {found['file']}",
        mounts={volume: _VOLUME},
        capabilities=("DAC_OVERRIDE",),
    )
