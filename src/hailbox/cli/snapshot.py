"""The commands `hailbox snapshot …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hailbox.cli.command import Shown, verb
from hailbox.cli.life import DryRun, Timings

if TYPE_CHECKING:
    from hailbox.snapshot.catalog import Snapshot
    from hailbox.snapshot.restore import Restored

Make = Any

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the snapshot is called.")]


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"


def _table(found: list[Snapshot]) -> str:
    from hailbox.cli.render import table

    rows = [(s.name, s.taken, _size(s.size), s.profile, " ".join(s.replicas)) for s in found]
    return table(("NAME", "TAKEN", "SIZE", "PROFILE", "DATA OF"), rows)


def save(make: Make, name: Name) -> Shown:
    """Save all data of the stack; its services are frozen while it is copied, and go on."""
    from hailbox.snapshot.save import save as run

    return Shown(run(make(), name), lambda snapshot: _table([snapshot]))


def ls(make: Make) -> Shown:
    """List the snapshots of the stack."""
    from hailbox.snapshot.manage import ls as run

    context = make()
    none = f"no snapshots; make one with: hailbox --stack {context.stack} snapshot save NAME"
    return Shown(run(context), lambda found: _table(found) if found else none, essential=True)


def restore(make: Make, name: Name, dry_run: DryRun = False, timings: Timings = False) -> Shown:
    """Discard the stack's data, put that of the snapshot in its place, and bring the stack up."""
    from hailbox.cli import render
    from hailbox.snapshot.restore import restore as run

    def shown(result: Restored) -> str:
        if result.stack is None:
            return render.removal("restore")(result.removal)
        return render.stack_with_timings(result.stack) if timings else render.stack(result.stack)

    return Shown(run(make(), name, dry_run=dry_run), shown)


def rm(make: Make, name: Name, dry_run: DryRun = False) -> Shown:
    """Remove a snapshot."""
    from hailbox.cli import render
    from hailbox.snapshot.manage import remove

    return Shown(remove(make(), name, dry_run=dry_run), render.removal("snapshot rm"))


app = typer.Typer(
    name="snapshot", help="Save and restore all data of a stack.", rich_markup_mode=None, no_args_is_help=True
)
for function in (save, ls, restore, rm):
    app.command()(verb(function, f"snapshot {function.__name__}"))
