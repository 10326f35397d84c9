"""Bringing a fault about: the helper container that makes it, and waiting until it is in effect."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hailbox.context import Context
from hailbox.engine.port import Container
from hailbox.fault.active import described
from hailbox.fault.result import Fault
from hailbox.helper import kinds, settle
from hailbox.helper.kinds import Kind
from hailbox.helper.run import Work, create, image_of, run
from hailbox.model import names
from hailbox.model.errors import FaultActiveError, FaultFailedError, NotWorkingError, UsageError
from hailbox.observe import Observed, present
from hailbox.stack import lock, selection

PROCESS: Final = ("kill", "stop", "pause")
_VOLUME: Final = "/volume"
_READY: Final = b"ready"


@dataclass(frozen=True)
class FaultRequest:
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
class _Fault:
    """What its helper has to be told."""

    kind: Kind
    arguments: Mapping[str, Any]
    identifier: str
    targets: tuple[str, ...]
    detail: str = ""
    volumes: Mapping[str, str] | None = None
    network: str = "none"


def inject(context: Context, asked: FaultRequest) -> Fault:
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
        fault = _fault(context, observed, asked)
        _make_room(context, observed, fault)
        labels = {
            names.FAULT_KIND: asked.kind,
            names.FAULT_TARGETS: " ".join(fault.targets),
            names.FAULT_DETAIL: fault.detail,
        } | ({names.FAULT_UNTIL: f"{until:.3f}"} if until else {})
        arguments = {"kind": asked.kind, "until": until, **fault.arguments}
        work = Work(
            fault.kind,
            _image(context, observed),
            fault.volumes or {},
            (json.dumps(arguments),),
            labels,
            fault.identifier,
            fault.network,
        )
        _start(context, create(context, work))
    return described(names.fault_container(context.stack, fault.identifier), context.stack, labels)


def _image(context: Context, observed: Observed) -> str:
    """The runtime image, which the stack's one-shot container was made from."""
    if image := image_of(observed):
        return image
    raise NotWorkingError(
        f"stack {context.stack} is half made", f"bring it up first: hailbox --stack {context.stack} up"
    )


def _make_room(context: Context, observed: Observed, fault: _Fault) -> None:
    """Remove the helper of such a fault that has ended. Raises FaultActiveError if it has not."""
    active = {settle.fault_id(container) for container in settle.active_faults(observed)}
    if fault.identifier in active:
        raise FaultActiveError(
            f"{fault.identifier} is in effect already",
            f"end it first: hailbox --stack {context.stack} fault clear {fault.identifier}",
        )
    for container in settle.of_kind(observed, names.FAULT):
        if settle.fault_id(container) not in active:
            context.engine.remove_container(container.id)


def _start(context: Context, identifier: str) -> None:
    """Start the helper and wait until it says that the fault is in effect. Raises FaultFailedError."""
    engine = context.engine
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


def _fault(context: Context, observed: Observed, asked: FaultRequest) -> _Fault:
    target = selection.running(observed, asked.replica)
    replica = target.labels[names.REPLICA]
    if asked.kind in PROCESS:
        return _Fault(kinds.HOLD_PROCESS, {"container": target.id}, f"{asked.kind}-{replica}", (replica,))
    if asked.kind == "fill-disk":
        arguments = {"container": target.id, "root": _data(context, target)}
        return _Fault(kinds.NO_SPACE, arguments, f"fill-disk-{replica}", (replica,))
    if asked.kind == "corrupt":
        return _corruption(context, observed, asked, target)
    return _network(observed, asked, target)


def _network(observed: Observed, asked: FaultRequest, target: Container) -> _Fault:
    targets: Sequence[str] = (target.labels[names.REPLICA],)
    details = []
    arguments: dict[str, Any] = {"delay": asked.delay, "loss": asked.loss}
    if asked.kind == "partition":
        peer = selection.running(observed, asked.peer or "").labels[names.REPLICA]
        if peer == targets[0]:
            raise UsageError(f"{peer} cannot be parted from itself", "name two replicas")
        targets = sorted((*targets, peer))
        target = selection.running(observed, targets[0])
        arguments["peers"] = [targets[1]]
    if asked.delay:
        details.append(f"what it sends comes {asked.delay:g} s later")
    if asked.loss:
        details.append(f"{asked.loss:.0%} of what it sends get lost")
    return _Fault(
        kinds.NETWORK,
        arguments,
        "-".join((asked.kind, *targets)),
        tuple(targets),
        detail=", ".join(details),
        network=f"container:{target.id}",
    )


def _data(context: Context, target: Container) -> str:
    """The replica's data directory, as its daemon sees it. Raises UsageError if it has none."""
    service = context.catalog.services.get(target.labels.get(names.SERVICE, ""))
    if service is None or not service.data:
        raise UsageError(f"{target.labels[names.REPLICA]} keeps no data", "choose a replica that does")
    return service.data


def _corruption(context: Context, observed: Observed, asked: FaultRequest, target: Container) -> _Fault:
    _data(context, target)
    replica = target.labels[names.REPLICA]
    volume = names.data_volume(context.stack, context.catalog.keeper(replica))
    looking = Work(kinds.CHOOSE_FILE, _image(context, observed), {volume: f"{_VOLUME}:ro"}, (asked.file,))
    found = json.loads(run(context, looking))
    if "missing" in found:
        raise UsageError(
            f"nothing of {replica} was corrupted: {found['missing']}", "see: hailbox fault corrupt --help"
        )
    mark = hashlib.sha256(found["file"].encode()).hexdigest()[:6]
    return _Fault(
        kinds.CORRUPTION,
        {**found, "root": _VOLUME},
        f"corrupt-{replica}-{mark}",
        (replica,),
        detail=f"{found['length']} bytes at offset {found['offset']} of {found['file']}",
        volumes={volume: _VOLUME},
    )
