"""`snapshot save`: one copy of all data volumes, consistent across the services."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState
from hailbox.helper import kinds, settle
from hailbox.helper.run import Work, run
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT, Service
from hailbox.model.errors import FaultActiveError, NameTakenError, NotWorkingError, SnapshotExistsError
from hailbox.model.progress import Phase
from hailbox.observe import Observed, present
from hailbox.snapshot import catalog
from hailbox.snapshot.catalog import Snapshot
from hailbox.stack import lock, plan
from hailbox.stack.choice import choose
from hailbox.stack.removal import each

_STOP_TIMEOUT: Final = 5
"""Seconds that a service has to end where it cannot be frozen."""


def save(context: Context, name: str) -> Snapshot:
    """Copy all data while the services are frozen; they go on as if nothing had been.

    Frozen as a whole, they leave what a power failure would, with everything that they acknowledged.
    Raises SnapshotExistsError, UnknownStackError, FaultActiveError, NotWorkingError if the data is being restored.
    """
    catalog.check_name(name)
    with lock.exclusive(context):
        observed = present(context.engine, context.stack)
        _check(context, observed, name)
        discard_half_made(context, observed)
        choice = choose(context, observed)
        replicas = sorted(observed.with_data)
        image = plan.image_references(context, observed, choice)[ONE_SHOT]
        create_volume(context, name)
        context.tell(name, Phase.SAVING)
        with frozen(context, observed):
            said = run(context, _copying(context.stack, name, image, replicas))
        snapshot = Snapshot(
            name=name,
            taken=datetime.now(UTC).isoformat(timespec="seconds"),
            size=int((said.split() or [b"0"])[0]),
            profile=choice.profile.name,
            scale=" ".join(f"{service}={count}" for service, count in sorted(choice.scale.items())),
            replicas=tuple(replicas),
            digests=digests(context, name, image),
        )
        seal_up(context, snapshot)
        return catalog.find(present(context.engine, context.stack), name)


def create_volume(context: Context, name: str) -> None:
    """Make the volume for the copies. Raises NameTakenError if it, or the seal, would be a volume of something else.

    The volume of snapshot `iwhd-1` of stack `a` is called like the data of stack `a-snapshot`, and the copies of
    snapshot `seal-one` like the seal of `one`.
    """
    stack = context.stack
    wanted = (catalog.volume(stack, name), catalog.seal(stack, name))
    for taken in context.engine.volumes({}):
        if taken.name in wanted:
            owner = taken.labels.get(names.STACK)
            whose = f"of stack {owner}" if owner else "not made by hailbox"
            raise NameTakenError(
                f"the snapshot {name!r} needs the name {taken.name}, which a volume has that is {whose}",
                f"nothing was changed; choose another name: hailbox --stack {stack} snapshot save NAME",
            )
    labels = {names.STACK: stack, names.SNAPSHOT_NAME: name, names.KIND: names.SNAPSHOT}
    context.engine.create_volume(wanted[0], labels)


def seal_up(context: Context, snapshot: Snapshot) -> None:
    """Make the seal, which turns a whole copy into a snapshot."""
    context.engine.create_volume(
        catalog.seal(context.stack, snapshot.name),
        {names.STACK: context.stack, names.SNAPSHOT_NAME: snapshot.name, names.KIND: names.SEAL}
        | catalog.description(snapshot),
    )


def digests(context: Context, name: str, image: str) -> dict[str, str]:
    """The digest of each directory in the snapshot's volume as it is now."""
    context.tell(name, Phase.VERIFYING)
    said = run(context, Work(kinds.DIGEST, image, {catalog.volume(context.stack, name): "/from:ro"}))
    return {str(directory): str(digest) for directory, digest in json.loads(said or b"{}").items()}


def _copying(stack: str, name: str, image: str, replicas: Sequence[str]) -> Work:
    """Copies the data volumes of these replicas into the snapshot's, and prints the bytes."""
    volumes = {names.data_volume(stack, replica): f"/from/{replica}:ro" for replica in replicas}
    volumes[names.credentials_volume(stack)] = f"/from/{catalog.CREDENTIALS}:ro"
    return Work(kinds.SAVE, image, volumes | {catalog.volume(stack, name): "/to"}, labels={names.SNAPSHOT_NAME: name})


def _check(context: Context, observed: Observed, name: str) -> None:
    if any(snapshot.name == name for snapshot in catalog.snapshots(observed)):
        raise SnapshotExistsError(
            f"stack {context.stack} has a snapshot {name!r} already",
            f"choose another name, or remove it: hailbox --stack {context.stack} snapshot rm {name}",
        )
    if active := settle.active_faults(observed):
        raise FaultActiveError(
            f"the fault {settle.fault_id(active[0])} is in effect, and would be in the snapshot",
            f"end it first: hailbox --stack {context.stack} fault clear",
        )
    if settle.of_kind(observed, names.RESTORE) or not observed.data_volumes():
        raise NotWorkingError(
            f"the data of stack {context.stack} is not whole",
            f"bring it up first: hailbox --stack {context.stack} up",
        )


def discard_half_made(context: Context, observed: Observed) -> None:
    """Remove what a killed command left of a snapshot that was being made or removed."""
    for container in settle.of_kind(observed, names.DISPOSABLE):
        context.engine.remove_container(container.id)
    for volume in catalog.half_made(observed):
        context.engine.remove_volume(volume.name)


@contextlib.contextmanager
def frozen(context: Context, observed: Observed) -> Iterator[None]:
    """Freeze the running services, those that use others first, so that nothing is half told; then let them go on.

    An engine that cannot freeze stops them and starts them again: what they acknowledged is on the disk.
    """
    running = [
        container
        for container in observed.containers
        if container.state is ContainerState.RUNNING
        and container.labels.get(names.SERVICE) in context.catalog.services
    ]
    by_depth: dict[int, list[Container]] = {}
    for container in running:
        by_depth.setdefault(_depth(context.catalog.services, container.labels[names.SERVICE]), []).append(container)
    held: list[str] = []
    engine = context.engine
    freezes = engine.mode().has_limits

    def freeze(container: Container) -> None:
        if freezes:
            engine.pause_container(container.id)
        else:
            engine.stop_container(container.id, stop_timeout=_STOP_TIMEOUT)
        held.append(container.id)

    try:
        for depth in sorted(by_depth, reverse=True):
            each(freeze, by_depth[depth])
        yield
    finally:
        each(engine.unpause_container if freezes else engine.start_container, held)


def _depth(services: Mapping[str, Service], name: str) -> int:
    """How many services deep the chain of those that it needs is."""
    return 1 + max((_depth(services, needed) for needed in services[name].needs if needed in services), default=0)
