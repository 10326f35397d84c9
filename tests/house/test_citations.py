"""Every citation of a protocol page, such as `tabled.md 17.2`, names a page and a section that exist."""

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ROOT / "docs" / "protocols"
CITING: Final = ("src", "tests", "benchmarks", "scripts", "images")

PAGE: Final = re.compile(r"(?<![\w/.-])((?:[\w.-]+/)*)([\w-]+)\.md\b")
NUMBERS: Final = re.compile(
    r"(?:,? sections? |,? )((?:\d+(?:\.\d+)*(?:, | and | to | or )?)+)(?!\d| ?(?:s|ms|MiB|KiB|GiB|B)\b)"
)
HEADING: Final = re.compile(r"^#{2,3} (\d+(?:\.\d+)*)\.? ", re.MULTILINE)


def sections(page: Path) -> set[str]:
    """The numbers of the page's sections."""
    return set(HEADING.findall(page.read_text()))


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Comments and strings of a module, each with its first line; adjacent comment lines are one text."""
    comment: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT:
            if comment and line == last + 1:
                comment.append(token.string.lstrip("# "))
            else:
                if comment:
                    yield first, " ".join(comment)
                comment, first = [token.string.lstrip("# ")], line
            last = line
        elif token.type in (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)):
            yield line, re.sub(r"\s+", " ", token.string)
    if comment:
        yield first, " ".join(comment)


@cache
def citing(path: Path) -> tuple[tuple[int, str], ...]:
    """The prose of a module; of one that names no page nothing, as to take a module apart takes long."""
    source = path.read_text()
    return tuple(prose(source)) if ".md" in source else ()


def dangling(text: str, pages: dict[str, set[str]]) -> list[str]:
    """Citations in the text of a page that is not in docs/protocols, or of a section that its page does not have."""
    wrong = []
    for found in PAGE.finditer(text):
        folder, name = found.groups()
        numbers = NUMBERS.match(text, found.end())
        cited = re.findall(r"\d+(?:\.\d+)*", numbers.group(1)) if numbers else []
        if folder in ("", "docs/protocols/") and name in pages:
            wrong += [f"{name}.md {number}" for number in cited if number not in pages[name]]
        elif cited or "protocols" in folder:
            wrong.append(found.group())
    return wrong


def known() -> dict[str, set[str]]:
    """The sections of each protocol page, by the page's name without its suffix."""
    return {page.stem: sections(page) for page in PAGES.glob("*.md") if page.stem != "README"}


@pytest.mark.parametrize("folder", CITING)
def test_every_citation_of_a_protocol_page_resolves(folder: str) -> None:
    pages = known()
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path == Path(__file__):
            continue
        for line, text in citing(path):
            wrong += [f"{path.relative_to(ROOT)}:{line}: {citation}" for citation in dangling(text, pages)]
    assert wrong == []


def test_the_source_cites_every_protocol_page() -> None:
    cited = {
        match.group(2)
        for path in (ROOT / "src").rglob("*.py")
        for _, text in citing(path)
        for match in PAGE.finditer(text)
    }
    assert set(known()) <= cited


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("as tabled.md 1 says", []),
        ("as tabled.md 1.1 and 2.2 say", ["tabled.md 2.2"]),
        ("tabled.md sections 1, 3 and 1.1.", ["tabled.md 3"]),
        ("tabled.md section 9", ["tabled.md 9"]),
        ("tabled.md, section 9", ["tabled.md 9"]),
        ("design.md, section 3", ["design.md"]),
        ("see ../shared/protocols/tabled.md", ["../shared/protocols/tabled.md"]),
        ("see docs/protocols/tabled.md 1.1", []),
        ("the figure in docs/daemons/cld.md was taken with 1000", []),
        ("tabled.md", []),
    ],
)
def test_a_citation_that_does_not_resolve_is_found(text: str, expected: list[str]) -> None:
    assert dangling(text, {"tabled": {"1", "1.1"}}) == expected


def test_sections_are_read_from_headings(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# title\n## 1. One\n### 1.2 Two\n### 10.3 Three [file.c]\n#### 4 not a section\n1.5 nor this\n")
    assert sections(page) == {"1", "1.2", "10.3"}
