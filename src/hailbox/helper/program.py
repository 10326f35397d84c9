"""Shipping a program into a helper container: its modules as text, after a few lines that load them.

So programs need no image of their own, and are always those of the driver that starts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

_PACKAGE: Final = "hailbox.helper.programs"

_LOADER: Final = """\
import sys
# No other import: while a snapshot is restored the services stand still.
count = 2 + 2 * int(sys.argv[1])
for at in range(2, count, 2):
    name, text = sys.argv[at : at + 2]
    sys.modules[name] = module = type(sys)(name)
    exec(compile(text, name, "exec"), module.__dict__)
sys.exit(module.main(sys.argv[count:]))
"""


def command(modules: Sequence[str], arguments: Sequence[str]) -> tuple[str, ...]:
    """The command that loads these modules of `programs/` and calls `main` of the last one with `arguments`.

    What `main` returns is the exit status.
    """
    folder = Path(__file__).parent / "programs"
    parts = [part for module in modules for part in module.split(".")[:-1]]
    packages = ["hailbox", "hailbox.helper", _PACKAGE, *(f"{_PACKAGE}.{part}" for part in dict.fromkeys(parts))]
    loaded = [(name, "") for name in packages]
    for module in modules:
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        loaded.append((f"{_PACKAGE}.{module}", path.read_text(encoding="utf-8")))
    texts = [text for pair in loaded for text in pair]
    return ("python3", "-I", "-c", _LOADER, str(len(loaded)), *texts, *arguments)
