"""Requests between the services as they happen."""

from __future__ import annotations

from typing import Any, Final

from hailbox.console.console import Console
from hailbox.console.jobs import command_line
from hailbox.console.pages.page import Page, Query
from hailbox.fault import duration
from hailbox.trace.exchange import Filter


def chosen(query: Query) -> Filter:
    """Which exchanges a page shows. Raises UsageError."""
    slower = query.get("slower", "").strip()
    return Filter(
        query.get("bucket", "").strip(),
        query.get("status", "").strip(),
        duration.seconds(slower, "--slower") if slower else 0.0,
    )


async def gather(console: Console, query: Query) -> dict[str, Any]:
    """See `page.Gather`."""
    chosen(query)
    words = ["trace"]
    for name in ("bucket", "status", "slower"):
        if value := query.get(name, "").strip():
            words += [f"--{name}", value]
    return {
        "query": {name: query.get(name, "") for name in ("bucket", "status", "slower")},
        "line": command_line(console.stack, words),
        "trouble": console.feed.problem,
    }


class Rows:
    """The new exchanges each time they are asked for, the newest first."""

    def __init__(self, query: Query) -> None:
        self._filter = chosen(query)
        self._last = 0

    def new(self, console: Console) -> list[Any]:
        """Those since the last time."""
        console.feed.want()
        found = console.feed.since(self._last)
        if found:
            self._last = found[-1][0]
        return [exchange for _, exchange in reversed(found) if self._filter.passes(exchange)]


PAGE: Final = Page("trace", "/trace", "Trace", ("tracestate",), gather, every=0.5)
