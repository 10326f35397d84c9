"""`snapshot ls` and `snapshot rm`."""

from __future__ import annotations

from hailbox.commands.down import Removal
from hailbox.context import Context
from hailbox.helper import settle
from hailbox.model import names
from hailbox.model.errors import BusyError
from hailbox.observe import observe, present
from hailbox.snapshot import catalog
from hailbox.snapshot.catalog import Snapshot
from hailbox.snapshot.save import discard_half_made
from hailbox.stack import lock


def ls(context: Context) -> list[Snapshot]:
    """The snapshots of the stack, by name; half-made ones are none. Raises UnknownStackError."""
    return catalog.snapshots(present(context.engine, context.stack))


def remove(context: Context, name: str, *, dry_run: bool = False) -> Removal:
    """Remove a snapshot. Raises UnknownSnapshotError, BusyError if it is being restored."""
    with lock.exclusive(context):
        observed = observe(context.engine, context.stack)
        catalog.find(observed, name)
        if any(c.labels.get(names.SNAPSHOT_NAME) == name for c in settle.of_kind(observed, names.RESTORE)):
            raise BusyError(
                f"the snapshot {name!r} is half restored", f"let it finish: hailbox --stack {context.stack} up"
            )
        volumes = (catalog.seal(context.stack, name), catalog.volume(context.stack, name))
        if not dry_run:
            discard_half_made(context, observed)
            # The seal first: what is left of a killed run is then no snapshot.
            for volume in volumes:
                context.engine.remove_volume(volume)
        return Removal(context.stack, dry_run, volumes=volumes)
