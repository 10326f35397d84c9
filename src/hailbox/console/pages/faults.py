"""Faults and snapshots: inflict and clear, save, restore and remove."""

from __future__ import annotations

from typing import Any, Final

from hailbox.console.actions import FAULTS
from hailbox.console.changes import in_thread
from hailbox.console.console import Console
from hailbox.console.jobs import command_line
from hailbox.console.pages.page import Page, Query
from hailbox.model.errors import UsageError
from hailbox.snapshot import manage
from hailbox.snapshot.restore import restore


async def gather(console: Console, _query: Query) -> dict[str, Any]:
    """See `page.Gather`."""
    snapshots = await in_thread(lambda: manage.ls(console.context()))
    return {
        "kinds": FAULTS,
        "names": [replica.name for replica in console.view.replicas],
        "snapshots": sorted(snapshots, key=lambda snapshot: snapshot.taken, reverse=True),
    }


async def confirm(console: Console, query: Query) -> dict[str, Any]:
    """What is lost if a snapshot is restored or removed. Raises HailboxError."""
    what, name = query.get("what", ""), query.get("name", "")
    if what == "restore":
        restored = await in_thread(lambda: restore(console.context(), name, dry_run=True))
        snapshot, lost = restored.snapshot, restored.removal.volumes
        words = ["snapshot", "restore", name]
    elif what == "remove":
        lost = (await in_thread(lambda: manage.remove(console.context(), name, dry_run=True))).volumes
        known = await in_thread(lambda: manage.ls(console.context()))
        snapshot = next(each for each in known if each.name == name)
        words = ["snapshot", "rm", name]
    else:
        raise UsageError(f"there is nothing to confirm about {what!r}", "go back, and choose again")
    return {"what": what, "snapshot": snapshot, "lost": lost, "line": command_line(console.stack, words)}


PAGE: Final = Page("faults", "/faults", "Faults and snapshots", ("faults", "snapshots"), gather, every=2.0)
CONFIRM: Final = Page("confirm", "/confirm", "Confirm", (), confirm, every=0.0, in_menu=False)
