"""The table of faults: what tests measured, gathered over their modules, and the page of the documentation it makes.

Times are recorded, not asserted: they belong to the machine.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from support.enginestack import ARTEFACTS, ROOT, Answer, Stack

FULL = bool(os.environ.get("HAILBOX_FULL"))
PAGE = ROOT / "docs" / "faults.md"
KEPT = ARTEFACTS / "faults.json"

ONE_DAEMON = "One daemon"
STACK = "The whole stack"
ENGINE = "The engine and its host"
SECTIONS = (ONE_DAEMON, STACK, ENGINE)

NOTICING = 3.0
"""Seconds for which `status` is asked about a fault."""


@dataclass(frozen=True)
class Measured:
    """One row; times in seconds, None where there was nothing to measure."""

    title: str
    said: str
    noticed: float | None
    healed: float | None
    more: str
    """What else it took than one `up`; empty: nothing."""
    data: str
    """What became of what had been acknowledged."""
    lost: int = 0
    """Objects that are gone although the fault did not destroy them."""


class FaultTable:
    """The rows of this session, by section."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Measured]] = {section: [] for section in SECTIONS}

    def add(self, section: str, row: Measured) -> None:
        """Record a row, at once: what comes after may fail."""
        self.rows[section].append(row)

    def write(self) -> None:
        """Keep the rows beside those that other sessions measured; with HAILBOX_FULL make the page of them."""
        kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        for section, rows in self.rows.items():
            known = {row["title"]: row for row in kept.get(section, [])}
            if rows:
                kept[section] = list((known | {row.title: asdict(row) for row in rows}).values())
        ARTEFACTS.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept, indent=1))
        if FULL and set(kept) == set(SECTIONS):
            PAGE.write_text(page({section: [Measured(**row) for row in kept[section]] for section in SECTIONS}))


def page(sections: dict[str, list[Measured]]) -> str:
    """The page, in Markdown."""
    every = [row for rows in sections.values() for row in rows]
    alone = sum(not row.more for row in every)
    lines = [
        "# What happens when something breaks",
        "",
        "Written by `make test-full` (tests/faults) from its last run, on the default profile. Each fault is",
        "inflicted on a working stack with acknowledged objects in it; then `hailbox status` is asked until it",
        "notices (or the daemon has come back by itself), and `hailbox status --why` for the root; then `hailbox up`",
        "is run. The code is that of `status --why` unless the row says otherwise; after it is what `status` shows.",
        "",
        f"{len(every)} faults; {alone} needed one `hailbox up` and nothing else, the others what their row says.",
        f"Acknowledged objects that are gone and that the fault did not destroy: {sum(row.lost for row in every)}.",
    ]
    for section, rows in sections.items():
        lines += [
            "",
            f"## {section}",
            "",
            "| fault | what hailbox said | time to notice | time to heal | what else it took | acknowledged data |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for row in rows:
            times = ["-" if seconds is None else f"{seconds:.1f} s" for seconds in (row.noticed, row.healed)]
            cells = (row.title, row.said, *times, row.more or "nothing", row.data)
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def code(name: str, detail: str = "") -> str:
    """An error's code, with a link to its page, and what else was said."""
    return f"[`{name}`](errors/{name}.md)" + (f": {detail}" if detail else "")


def told(answer: Answer) -> str:
    """The code with which a command failed. It has said what is wrong and what to do next."""
    assert answer.status != 0
    error = answer.errors[0]
    assert error["problem"]
    assert error["remedy"]
    assert error["code"] != "internal-error", error
    return error["code"]


def notice(stack: Stack, seconds: float = NOTICING) -> tuple[float | None, str]:
    """Ask `status` until it is not content: after how long that was, and what `status --why` says is the root."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        answer = stack.run("status", ok=False)
        if answer.status != 0:
            noticed = time.monotonic() - started
            sick = [replica for replica in (answer.data or {}).get("replicas", []) if not replica["working"]]
            detail = f"{sick[0]['replica']}: {sick[0]['reason']}" if sick else ""
            why = stack.run("status", "--why", ok=False)
            return noticed, code(told(why if why.status != 0 else answer), detail)
    return None, "back by itself"


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """A list that has the seconds in it that the block took, when it is over."""
    passed: list[float] = []
    started = time.monotonic()
    yield passed
    passed.append(time.monotonic() - started)
