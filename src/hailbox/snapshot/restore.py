"""`snapshot restore` and `reset --to`: the data as it was, from whatever state."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hailbox.commands.down import Removal
from hailbox.commands.result import StackResult
from hailbox.commands.up import bring_up
from hailbox.context import Context
from hailbox.engine.port import Container
from hailbox.helper import kinds, settle
from hailbox.helper.run import Work, create
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import SnapshotDamagedError
from hailbox.observe import Observed, observe
from hailbox.snapshot import catalog
from hailbox.snapshot.catalog import Snapshot
from hailbox.snapshot.save import digests, discard_half_made
from hailbox.stack import lock, plan
from hailbox.stack.removal import discard
from hailbox.stack.situation import foresee


@dataclass(frozen=True)
class Restored:
    """What was discarded, and the stack afterwards (None with `--dry-run`)."""

    snapshot: Snapshot
    removal: Removal
    """The data volumes whose content was replaced, or that are not part of the snapshot."""
    stack: StackResult | None


def restore(context: Context, name: str, *, dry_run: bool = False, verify: bool = True) -> Restored:
    """Discard the data of the stack, put the snapshot's in its place, and bring the stack up as it was then.

    A killed run is finished by the next `up`: the helper container that copies is made before anything is
    discarded, and stays until all is copied. With `verify` the snapshot is compared with its digests first.
    Raises UnknownSnapshotError, SnapshotDamagedError before anything is discarded, and what `up` raises.
    """
    with lock.exclusive(context):
        observed = observe(context.engine, context.stack)
        snapshot = catalog.find(observed, name)
        removal = Removal(
            context.stack, dry_run, volumes=tuple(sorted(volume.name for volume in observed.data_volumes()))
        )
        if dry_run:
            return Restored(snapshot, removal, None)
        context = _as_then(context, observed, snapshot)
        image = plan.runtime_image(context, observed)
        if verify:
            _verify(context, snapshot, image)
        foresee(context, observed)
        settle.end_faults(context, observed)
        discard_half_made(context, observed)
        observed = _with_all_volumes(context, observe(context.engine, context.stack), snapshot)
        earlier = settle.of_kind(observed, names.RESTORE)
        _discard_others(context, observed, snapshot)
        create(context, _copying(context.stack, name, image, snapshot))
        for container in earlier:
            context.engine.remove_container(container.id)
        # From here on it is a half restored stack, which to bring up means to finish it.
        return Restored(snapshot, removal, bring_up(context))


def _verify(context: Context, snapshot: Snapshot, image: str) -> None:
    """Raise SnapshotDamagedError unless each directory of the copy is what was saved."""
    if not snapshot.digests:
        return
    found = digests(context, snapshot.name, image)
    if wrong := sorted(name for name, digest in snapshot.digests.items() if found.get(name) != digest):
        named = ["the credentials" if name == catalog.CREDENTIALS else f"the data of {name}" for name in wrong]
        hailbox = f"hailbox --stack {context.stack} snapshot"
        raise SnapshotDamagedError(
            f"the snapshot {snapshot.name!r} is damaged: {', '.join(named)} {'is' if len(wrong) == 1 else 'are'} "
            "not what was saved",
            f"nothing was changed; choose another ({hailbox} ls), or restore it as it is: "
            f"{hailbox} restore {snapshot.name} --no-verify",
        )


def _copying(stack: str, name: str, image: str, snapshot: Snapshot) -> Work:
    """Replaces what is in the stack's volumes by what the snapshot has, when it gets names.GO."""
    volumes = {names.data_volume(stack, replica): f"/to/{replica}" for replica in snapshot.replicas}
    if snapshot.has_credentials:
        volumes[names.credentials_volume(stack)] = f"/to/{catalog.CREDENTIALS}"
    return Work(
        kinds.RESTORE, image, {catalog.volume(stack, name): "/from:ro"} | volumes, labels={names.SNAPSHOT_NAME: name}
    )


def _as_then(context: Context, observed: Observed, snapshot: Snapshot) -> Context:
    """The context with the profile and scale that the stack had when the snapshot was taken."""
    scaled = {item.partition("=")[0] for item in snapshot.scale.split()}
    scaled |= set(observed.record.scale if observed.record else ())
    counts = Counter(replica.rpartition("-")[0] for replica in snapshot.replicas)
    scale = {service: counts[service] for service in scaled if counts[service]}
    return replace(context, config=replace(context.config, profile=snapshot.profile, scale=scale))


def _with_all_volumes(context: Context, observed: Observed, snapshot: Snapshot) -> Observed:
    """Have every volume that is copied to, made as Compose makes them; from empty ones, if any is missing."""
    if observed.with_data >= set(snapshot.replicas):
        return observed
    mounting: list[Container] = [c for c in observed.containers if c.labels.get(names.REPLICA) != ONE_SHOT]
    discard(context.engine, [volume.name for volume in observed.data_volumes()], mounting)
    bring_up(context, snapshot.replicas)
    return observe(context.engine, context.stack)


def _discard_others(context: Context, observed: Observed, snapshot: Snapshot) -> None:
    """What replicas that were added since have stored belongs to the data that is discarded."""
    others = observed.with_data - set(snapshot.replicas)
    containers = [c for c in observed.containers if c.labels.get(names.REPLICA) in others]
    discard(context.engine, [volume.name for volume in observed.data_volumes(others)], containers)
