"""Every link of a page leads to a file, and every path of this repository that a page names is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
LINK: Final = re.compile(r"\[[^\]\n]*\]\(([^)\s#]+)(#[^)\s]*)?\)")
NAMED: Final = re.compile(r"`((?:src|tests|docs|scripts|benchmarks|compose|images)/[\w./-]+)`")
FENCED: Final = re.compile(r"^```.*?^```|^(?: {4}|\t).*$", re.MULTILINE | re.DOTALL)


def pages() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def slug(heading: str) -> str:
    """The anchor of a heading, as the usual renderers make it."""
    return re.sub(r"[^\w -]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")


def broken(page: Path, text: str) -> list[str]:
    """Links of a page that lead nowhere, and paths that are not there."""
    wrong = []
    for target, anchor in LINK.findall(FENCED.sub("", text)):
        if re.match(r"[a-z]+:", target):
            continue
        found = page.parent / target
        if not found.exists():
            wrong.append(target)
        elif anchor and found.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            if anchor[1:] not in {slug(heading) for heading in headings}:
                wrong.append(target + anchor)
    # NAME stands for a name that the reader chooses.
    wrong += [name for name in NAMED.findall(text) if "NAME" not in name and not (ROOT / name).exists()]
    return wrong


@pytest.mark.parametrize("name", pages())
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    assert broken(page, page.read_text()) == []


def test_every_page_of_docs_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        for target, _ in LINK.findall(page.read_text()):
            found = (page.parent / target).resolve() if ":" not in target else page
            if found.is_dir():
                ahead += sorted(found.glob("*.md"))
            elif found.suffix == ".md" and found.exists():
                ahead.append(found)
    missing = {name for name in pages() if name.startswith("docs/")} - {str(p.relative_to(ROOT)) for p in seen}
    assert missing == set()


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading: yes\n")
    text = "[a](there.md) [b](gone.md) [c](there.md#a-heading-yes) [d](there.md#no) [e](https://x.org/)\n`tests/gone.py`\n"
    assert broken(tmp_path / "page.md", text) == ["gone.md", "there.md#no", "tests/gone.py"]
