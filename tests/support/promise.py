"""The counts that the README quotes: those of docs/crash-sweep.md and docs/faults.md, word for word."""

import re
from pathlib import Path

from support.enginestack import ROOT

README = ROOT / "README.md"
PAGES = (ROOT / "docs" / "crash-sweep.md", ROOT / "docs" / "faults.md")
BEGIN, END = "<!-- counts: begin -->\n", "<!-- counts: end -->\n"

_COUNTS = re.compile(r"^(?:Killed .*|\d+ faults; .*|Acknowledged objects that are gone .*)$", re.MULTILINE)
"""The lines of a page that hold its counts."""


def counts(page: Path) -> list[str]:
    """What a page counts, by line; nothing of a page that is not there."""
    return _COUNTS.findall(page.read_text()) if page.exists() else []


def quotation() -> str:
    """What stands between the marks of the README."""
    return "".join(f"* {line}\n" for page in PAGES for line in counts(page))


def quoted(text: str) -> str:
    """What does stand there in this text of the README."""
    _, begin, behind = text.partition(BEGIN)
    inside, end, _ = behind.partition(END)
    assert begin, "the README has lost its mark"
    assert end, "the README has lost its mark"
    return inside


def update() -> None:
    """Let the README quote the pages as they are now."""
    text = README.read_text()
    changed = text.replace(f"{BEGIN}{quoted(text)}{END}", f"{BEGIN}{quotation()}{END}")
    if changed != text:
        README.write_text(changed)
