"""Where tests may stand and what they may import."""

import ast
import re
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
FOLDERS: Final = {
    *("house", "wire", "client", "daemon", "cld", "chunkd", "tabled", "iwhd", "driver"),  # fast and pure
    *("daemons", "fuzz"),  # real daemon processes; generated input
    *("stack", "faults", "clients"),  # a real engine
}


def modules() -> list[Path]:
    return sorted(TESTS.rglob("test_*.py"))


def test_no_test_imports_a_test() -> None:
    """What two tests share stands in tests/support, so that a test can move or go without breaking another."""
    wrong = []
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or "", *(alias.name for alias in node.names)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            if any(part == "conftest" or part.startswith("test_") for name in names for part in name.split(".")):
                wrong.append(f"{path.relative_to(TESTS)}:{node.lineno}")  # type: ignore[attr-defined]
    assert wrong == []


def test_every_test_is_in_a_folder_that_the_checks_run() -> None:
    from_checks = set(re.findall(r'"([a-z]+)"', _folders_of_checks()))
    assert from_checks >= FOLDERS - {"stack", "faults", "clients"}
    assert {path.relative_to(TESTS).parts[0] for path in modules()} <= FOLDERS


def _folders_of_checks() -> str:
    source = (TESTS.parent / "scripts" / "checks.py").read_text()
    return source[source.index("WITHOUT_ENGINE") : source.index("WITH_ENGINE")]


def test_file_names_are_unique() -> None:
    """Pytest imports test modules by their bare names."""
    names = [path.name for path in modules()]
    assert sorted({name for name in names if names.count(name) > 1}) == []
