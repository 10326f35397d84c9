"""Save and restore all data of a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import DryRun, Timings
from hailbox.model.size import rounded
from hailbox.snapshot.catalog import Snapshot
from hailbox.snapshot.manage import ls as saved
from hailbox.snapshot.manage import remove
from hailbox.snapshot.restore import restore as put_back
from hailbox.snapshot.save import save as take
from hailbox.snapshot.transfer import export as write
from hailbox.snapshot.transfer import import_ as read

app = typer.Typer(name="snapshot", help=__doc__, rich_markup_mode=None, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the snapshot is called.")]


NoVerify = Annotated[bool, typer.Option("--no-verify", help="Do not compare it with its checksums first.")]
Target = Annotated[Path, typer.Argument(metavar="FILE", help="A new file, for example seed.tar.zst.")]
Source = Annotated[Path, typer.Argument(metavar="FILE", help="A file of snapshot export.")]
NewName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="What to call it here; default: as it was called.")
]


def _table(found: list[Snapshot]) -> str:
    rows = [(s.name, s.taken, rounded(s.size), s.profile, " ".join(s.replicas)) for s in found]
    return render.table(("NAME", "TAKEN", "SIZE", "PROFILE", "DATA OF"), rows)


@command(app, changes=True)
def save(context_for: ContextFor, name: Name) -> CommandOutput:
    """Save all data of the stack; its services are frozen while it is copied, and go on."""
    return CommandOutput(take(context_for(), name), lambda snapshot: _table([snapshot]))


@command(app)
def ls(context_for: ContextFor) -> CommandOutput:
    """List the snapshots of the stack."""
    context = context_for()
    none = f"no snapshots; make one with: hailbox --stack {context.stack} snapshot save NAME"
    return CommandOutput(saved(context), lambda found: _table(found) if found else none, essential=True)


@command(app, changes=True)
def restore(
    context_for: ContextFor,
    name: Name,
    dry_run: DryRun = False,
    timings: Timings = False,
    no_verify: NoVerify = False,
) -> CommandOutput:
    """Discard the stack's data, put that of the snapshot in its place, and bring the stack up."""
    restored = put_back(context_for(), name, dry_run=dry_run, verify=not no_verify)
    return CommandOutput(restored, render.restored(timings=timings))


@command(app)
def export(context_for: ContextFor, name: Name, file: Target) -> CommandOutput:
    """Write a snapshot to a file, to keep it elsewhere or to give it to others. It holds the stack's credentials."""
    return CommandOutput(
        write(context_for(), name, file),
        lambda done: f"{done.file}: {rounded(done.size)}, snapshot {done.snapshot.name}",
    )


@command(app, changes=True, name="import")
def import_(context_for: ContextFor, file: Source, name: NewName = None) -> CommandOutput:
    """Make a snapshot of this stack from a file; `snapshot restore` then brings the stack to it."""
    return CommandOutput(read(context_for(), file, name), lambda snapshot: _table([snapshot]))


@command(app, changes=True)
def rm(context_for: ContextFor, name: Name, dry_run: DryRun = False) -> CommandOutput:
    """Remove a snapshot."""
    return CommandOutput(remove(context_for(), name, dry_run=dry_run), render.removal("snapshot rm"))
