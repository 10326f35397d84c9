"""One tree of errors: class, code, exit status and page of the documentation belong together."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hailbox.model import errors
from hailbox.model.errors import HailboxError

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "errors"

BRANCHES = {"HailboxError", "HostError", "StackError"}
"""Classes that only gather others."""


def below(root: type[HailboxError]) -> Iterator[type[HailboxError]]:
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from below(child)


CLASSES = {error.__name__: error for error in (HailboxError, *below(HailboxError))}
LEAVES = [CLASSES[name] for name in sorted(CLASSES.keys() - BRANCHES)]


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.__name__)
def test_page_names_code_class_and_exit_status(error: type[HailboxError]) -> None:
    text = (PAGES / f"{error.code}.md").read_text()
    title, _, second = text.splitlines()[:3]
    assert title == f"# {error.code}"
    assert second == f"Exit status {error.exit_status}, class `{error.__name__}`."
    sections = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)[1:]
    assert sections[::2] == ["What it means", "Why it happens", "What to do"]
    assert all(len(body.strip()) > 30 for body in sections[1::2])


def test_there_is_no_page_without_an_error() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {error.code for error in LEAVES} | {"README"}


def test_index_lists_every_code_behind_its_exit_status() -> None:
    listed: dict[str, int] = {}
    for line in (PAGES / "README.md").read_text().splitlines():
        if match := re.match(r"\| (\d+) \|", line):
            for name, target in re.findall(r"\[([\w-]+)\]\(([\w-]+)\.md\)", line):
                assert name == target
                assert name not in listed
                listed[name] = int(match[1])
    assert listed == {error.code: error.exit_status for error in LEAVES}


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [error.code for error in LEAVES]
    assert len(set(codes)) == len(codes)
    for error in LEAVES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)
    own = {name for name, error in CLASSES.items() if "code" in vars(error)}
    # The root's code is what an error without one would show: that of a defect.
    assert own == CLASSES.keys() - {"HostError", "StackError", "InternalError"}
    assert HailboxError.code == errors.InternalError.code == "internal-error"


def test_exit_statuses_tell_kinds_apart() -> None:
    assert {error.exit_status for error in LEAVES} == {2, 3, 4, 5, 6, 70, 130}
    for kind in (errors.UsageError, errors.HostError, errors.ImageError, errors.StackError, errors.EngineFailedError):
        assert {error.exit_status for error in below(kind)} == {kind.exit_status}


def test_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    shown: dict[str, tuple[str, str]] = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([ │├└─]*)(\w+Error)\s*(\d+)?\s*([\w-]+)?$", line):
            depth = len(match[1])
            while parents and parents[-1][0] >= depth:
                parents.pop()
            if parents:
                drawn[match[2]] = parents[-1][1]
            parents.append((depth, match[2]))
            shown[match[2]] = (match[3] or "", match[4] or "")
    assert drawn == {name: error.__bases__[0].__name__ for name, error in CLASSES.items() if name != "HailboxError"}
    for name, (status, code) in shown.items():
        error = CLASSES[name]
        assert code == ("" if name in BRANCHES else error.code)
        inherited = error.exit_status == error.__bases__[0].exit_status if name != "HailboxError" else True
        assert status == ("" if inherited and name != "InternalError" else str(error.exit_status))


def test_what_only_gathers_others_is_never_raised() -> None:
    made = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "src" / "hailbox").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BRANCHES
    ]
    assert made == []


def test_an_error_carries_its_two_lines() -> None:
    error = errors.PortTakenError("port 80 is held by nginx", "choose another")
    assert (error.problem, error.remedy, str(error)) == ("port 80 is held by nginx", "choose another", error.problem)
