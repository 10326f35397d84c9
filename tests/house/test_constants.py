"""Constants of modules are Final, so that a type checker refuses a second value (CONTRIBUTING, rules for code)."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
FREE = {"hailbox/__main__.py", "hailbox/cli/__init__.py"}
"""What runs before each command: they import nothing that can be spared, `typing` neither."""
PROGRAMS = "hailbox/helper/programs"
"""They run on any Python 3 of a helper container."""
MAKE_TYPES = {"TypeVar", "ParamSpec", "NewType"}


def loose_constants(tree: ast.Module) -> list[str]:
    found = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            makes_type = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in MAKE_TYPES
            target: ast.expr = node.targets[0]
            loose = not makes_type
        elif isinstance(node, ast.AnnAssign):
            target, loose = node.target, not ast.unparse(node.annotation).startswith(("Final", "TypeAlias"))
        else:
            continue
        if loose and isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("__"):
            found.append(target.id)
    return found


def test_constants_are_final() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        if str(path.relative_to(SOURCE)) not in FREE and not path.is_relative_to(SOURCE / PROGRAMS)
        for name in loose_constants(ast.parse(path.read_text()))
    ]
    assert wrong == []


def test_a_loose_constant_is_found() -> None:
    loose = "A = 1\n_B: int = 2\nC: Final = 3\nD: Final[int] = 4\nT = TypeVar('T')\nname = 5\n"
    assert loose_constants(ast.parse(loose)) == ["A", "_B"]
