"""The map: replicas, who uses whom, how they are, and faults where they act."""

from __future__ import annotations

from typing import Any, Final

from hailbox.console import drawing
from hailbox.console.console import Console
from hailbox.console.pages.page import Page, Query
from hailbox.model.size import rounded


async def gather(console: Console, _query: Query) -> dict[str, Any]:
    """See `page.Gather`."""
    rows = []
    figures = {}
    for replica in console.view.replicas:
        latest = console.resources.latest(replica.name)
        size = console.resources.volumes.get(replica.name)
        rows.append((replica, latest, size))
        if latest:
            rate = f", {latest.requests:.1f} req/s" if latest.requests is not None else ""
            figures[replica.name] = rounded(latest.memory) + rate
    return {"rows": rows, "map": drawing.draw(console.view, figures)}


PAGE: Final = Page("map", "/", "Map", ("map", "replicas"), gather)
