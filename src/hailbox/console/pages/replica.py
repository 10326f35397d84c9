"""One replica: its log, its configuration, what it takes, and what can be done with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hailbox.commands.logs import LogLine, chosen, read
from hailbox.console import plot
from hailbox.console.actions import FAULTS
from hailbox.console.changes import in_thread
from hailbox.console.console import Console
from hailbox.console.jobs import command_line
from hailbox.console.pages import cld
from hailbox.console.pages.page import Page, Query
from hailbox.console.resources import KEPT, Sample
from hailbox.context import Context
from hailbox.doctor.redaction import Redactor
from hailbox.model.errors import HailboxError, UnknownServiceError
from hailbox.model.size import rounded
from hailbox.observe import present
from hailbox.stack import credentials

TAIL: Final = 200
"""Lines of the log that a page begins with."""


@dataclass(frozen=True)
class Configuration:
    """One file that a replica is configured by, without its secrets."""

    name: str
    text: str


def configuration(context: Context, replica: str) -> list[Configuration]:
    """The files of a replica, secrets masked. Raises UnknownStackError."""
    observed = present(context.engine, context.stack)
    kept = credentials.look(context.engine, observed)
    if kept is None:
        return []
    redactor = Redactor(kept.credentials)
    return [
        Configuration(path.partition("/")[2] or path, redactor.text(text.decode(errors="replace")))
        for path, text in sorted(kept.files.items())
        if path.startswith(f"{replica}-") and "/" in path
    ]


class LogTail:
    """The new lines of a replica each time it is asked, over restarts and new containers."""

    def __init__(self, replica: str) -> None:
        self._replica = replica
        self._last = ""

    def lines(self, context: Context) -> list[str]:
        """Those since the last time; TAIL of them the first time. Raises HailboxError."""
        found: list[LogLine] = []
        for container in chosen(context, [self._replica]):
            tail = None if self._last else TAIL
            since = int(time.time()) - 30 if self._last else None
            found += read(context.engine, container, tail, follow=False, since=since)
        new = sorted((line for line in found if line.time > self._last), key=lambda line: line.time)
        if new:
            self._last = new[-1].time
        return [f"{line.time[11:23]}  {line.text}" for line in new]


def plots(samples: list[Sample]) -> dict[str, Any]:
    """What a replica took in the last ten minutes."""
    now = time.time()
    edges: dict[str, Any] = {"begin": now - KEPT, "end": now}
    return {
        "Memory": plot.line("Memory", [(s.time, float(s.memory)) for s in samples], show=rounded, **edges),
        "Processor": plot.line(
            "Processor", [(s.time, s.processor) for s in samples], show=lambda share: f"{share:.1%}", **edges
        ),
        "Requests": plot.line(
            "Requests",
            [(s.time, s.requests) for s in samples if s.requests is not None],
            show=lambda rate: f"{rate:.1f}/s",
            **edges,
        ),
        "Network": plot.line(
            "Network", [(s.time, s.traffic) for s in samples], show=lambda rate: f"{rounded(rate)}/s", **edges
        ),
    }


def _files(console: Console, name: str) -> Mapping[str, Any]:
    return {"configuration": configuration(console.context(), name)}


async def gather(console: Console, query: Query) -> dict[str, Any]:
    """See `page.Gather`."""
    name = query["name"]
    replica = console.view.replica(name)
    if replica is None and console.view.replicas:
        raise UnknownServiceError(
            f"stack {console.stack} has no replica {name!r}",
            f"see what it has: {command_line(console.stack, ['status'])}",
        )
    try:
        sessions, locks = (await cld.read(console)).held_by(name)
    except HailboxError:
        sessions, locks = (), ()  # cld is the one that does not work; its own page says why
    return {
        "name": name,
        "replica": replica,
        "latest": console.resources.latest(name),
        "size": console.resources.volumes.get(name),
        "sessions": sessions,
        "locks": locks,
        "plots": plots(console.resources.samples(name)),
        "faults": FAULTS,
        "peers": [each.name for each in console.view.replicas if each.name != name],
        "shell": command_line(console.stack, ["exec", name, "--", "sh"]),
        "logs": command_line(console.stack, ["logs", "--follow", name]),
    }


async def gather_whole(console: Console, query: Query) -> dict[str, Any]:
    """What only the page itself shows, not its live parts."""
    return dict(await in_thread(lambda: _files(console, query["name"])))


PAGE: Final = Page(
    "replica", "/replica/{name}", "Replica", ("replica", "held", "resources"), gather, every=3.0, in_menu=False
)
