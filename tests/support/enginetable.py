"""The table of engines and verbs in docs/engines.md, which the full run of the tests writes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from support.enginestack import ROOT

PAGE = ROOT / "docs" / "engines.md"
BEGIN, END = "<!-- written by make test-engines -->\n", "<!-- end -->\n"


def record(engine: str, where: str, verbs: Iterable[str], page: Path = PAGE) -> None:
    """In a full run: note that these verbs did what they should on that engine, and where it was."""
    if not os.environ.get("HAILBOX_FULL"):
        return
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    rows = {line.split("|")[1].strip(): line for line in table.splitlines()[2:]}
    rows[engine] = f"| {engine} | {where} | {', '.join(f'`{verb}`' for verb in sorted(set(verbs)))} |"
    header = ["| engine, as `doctor` names it | where it ran | verbs |", "| --- | --- | --- |"]
    lines = [*header, *(rows[name] for name in sorted(rows))]
    page.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after, encoding="utf-8")
