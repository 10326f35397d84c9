"""The page of a soak's counts: one row for each run, and the sums that the README quotes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from soak.session import Tally
from support.enginestack import ROOT

PAGE: Final = ROOT / "docs" / "reliability.md"
HEAD: Final = """# Soak

`make soak` brings stacks of random profiles up, lets real clients write, read and lock, and meanwhile kills the
driver and the daemons, inflicts faults, and removes containers and networks. After each of them one `hailbox up`
has to make the stack work. The clients' records are judged: each S3 key linearizable, listings complete, bodies and
attributes of iwhd as acknowledged, never two holders of a lock. `destroy` has to leave nothing. A seed gives the
same list of disturbances again: `make soak MINUTES=10 SEED=7`. Each run adds a row.

"""
COLUMNS: Final = (
    *("when", "code", "engine", "seed", "minutes", "stacks", "kills and faults", "requests judged", "locks"),
    *("manual steps", "lost or stale", "left on the host"),
)
_ROW: Final = re.compile(r"^\| (\d{4}-.*) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """Where and on what a soak ran."""

    when: str
    code: str
    engine: str
    seed: int
    minutes: float


def row(run: Run, tally: Tally) -> str:
    """The run as a row of the page's table."""
    cells = (
        *(run.when, run.code, run.engine, run.seed, f"{run.minutes:.0f}", tally.rounds),
        *(tally.disturbances.total(), tally.operations, tally.locks),
        *(len(tally.manual), len(tally.lost), len(tally.left)),
    )
    return f"| {' | '.join(map(str, cells))} |"


def page(rows: list[str]) -> str:
    """The whole page: the sums, then the rows."""
    numbers = [[int(cell) for cell in line.strip("| ").split(" | ")[5:]] for line in rows]
    sums = [sum(column) for column in zip(*numbers, strict=True)] or [0] * 7
    stacks, kills, requests, locks, manual, lost, left = sums
    total = (
        f"Soaked: {kills} kills and faults on {stacks} stacks; {requests} requests and {locks} locks judged; "
        f"{manual} manual steps, {lost} acknowledged things lost or stale, {left} things left on the host.\n\n"
    )
    table = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}", *rows]
    return HEAD + total + "\n".join(table) + "\n"


def add(run: Run, tally: Tally) -> None:
    """Add the run to the page."""
    text = PAGE.read_text() if PAGE.exists() else ""
    rows = [f"| {match} |" for match in _ROW.findall(text)]
    PAGE.write_text(page([*rows, row(run, tally)]))
