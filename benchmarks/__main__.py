"""Run benchmarks and keep their output: `python -m benchmarks [NAME]...` (none: all of them).

What a benchmark prints goes to the terminal and to benchmarks/results/NAME.txt, with the machine and the date.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"


def names() -> list[str]:
    """Every benchmark there is."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def run(name: str) -> int:
    """Run one; returns its exit status."""
    RESULTS.mkdir(exist_ok=True)
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    head = f"{name}: {when}, {os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}\n\n"
    print(head, end="", flush=True)
    with subprocess.Popen(
        [sys.executable, str(FOLDER / f"{name}.py")], stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode == 0:
        (RESULTS / f"{name}.txt").write_text(head + "".join(lines))
    return process.returncode


def main() -> int:
    """Run what the arguments name."""
    wanted = sys.argv[1:] or names()
    if unknown := sorted(set(wanted) - set(names())):
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(names())}", file=sys.stderr)
        return 2
    return max(run(name) for name in wanted)


if __name__ == "__main__":
    sys.exit(main())
