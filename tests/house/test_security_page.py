"""Each row of the table of docs/security.md names tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"


def rows() -> list[str]:
    """The rows of the first table of the page."""
    table = PAGE.read_text().partition("| from | to |")[2].partition("\n\n")[0]
    return table.splitlines()[2:]


def test_the_table_is_there() -> None:
    assert len(rows()) > 15


@pytest.mark.parametrize("row", rows(), ids=lambda row: " ".join(re.findall(r"\w+", row)[:8]))
def test_each_row_names_tests_that_are_there(row: str) -> None:
    _, _who, _what, how, tested, _ = row.split("|")
    assert how.strip()
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tested)
    assert named, "it names no test"
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path} has no {name}"
