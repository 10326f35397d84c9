"""Run the static checks and the tests, and say at the end what ran and how many passed.

    python scripts/checks.py check    what needs no engine: ruff, mypy, tests/{unit,wire,fuzz}, but for what is slow
    python scripts/checks.py test     that, and tests/stack, tests/faults, tests/clients on the real engine
    python scripts/checks.py full     the same, with every crash point and every fault in place of a sample

Exit status 0 only if every check passed and tests ran.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from steps import ROOT, VENV, main

STATIC = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "types": ["mypy"],
}
WITHOUT_ENGINE = ("tests/unit", "tests/wire", "tests/fuzz")
WITH_ENGINE = ("tests/stack", "tests/faults", "tests/clients")
REPORTS = ROOT / "artefacts"
OUTCOMES = ("passed", "failed", "skipped")


def static() -> dict[str, str]:
    """Run the static checks; by name, `passed` or `failed`. What they find goes to the terminal."""
    outcomes = {}
    for name, command in STATIC.items():
        started = time.monotonic()
        program = str(VENV / "bin" / command[0])
        status = subprocess.run([program, *command[1:]], cwd=ROOT, check=False).returncode
        outcomes[name] = "passed" if status == 0 else "failed"
        print(f"{name}: {outcomes[name]} ({time.monotonic() - started:.1f} s)", flush=True)
    return outcomes


def folders_with_tests(folders: Sequence[str]) -> list[str]:
    """Those of the folders that hold a test module; pytest takes one without for an error."""
    return [folder for folder in folders if next((ROOT / folder).rglob("test_*.py"), None)]


def pytest(name: str, folders: Sequence[str], options: Sequence[str]) -> tuple[bool, Path]:
    """Run pytest over the folders; whether it ended well, and its report."""
    REPORTS.mkdir(exist_ok=True)
    report = REPORTS / f"pytest-{name}.xml"
    report.unlink(missing_ok=True)
    command = [str(VENV / "bin" / "python"), "-m", "pytest", f"--junit-xml={report}", *options, *folders]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0, report


def count(report: Path) -> dict[str, Counter[str]]:
    """Outcomes per folder of tests in a JUnit report; an error in a fixture counts as a failure."""
    outcomes: dict[str, Counter[str]] = {}
    if not report.exists():
        return outcomes
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
        # What could not even be collected has its module as its name.
        folder = "/".join((case.get("classname") or case.get("name") or "").split(".")[:2])
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        outcomes.setdefault(folder, Counter())[outcome] += 1
    return outcomes


def line(counter: Counter[str]) -> str:
    """`N passed, N failed, N skipped`, the form in which test runners are read."""
    return ", ".join(f"{counter[outcome]} {outcome}" for outcome in OUTCOMES)


def body() -> None:
    """Run what the argument asks for."""
    arguments = sys.argv[1:]
    if arguments not in (["check"], ["test"], ["full"]):
        sys.stderr.write(f"{__doc__}\n")
        sys.exit(2)
    started = time.monotonic()
    checks = static()
    runs: list[tuple[str, Sequence[str], Sequence[str]]] = [
        ("without-engine", WITHOUT_ENGINE, ["-q", "-n", "2", "--dist", "loadfile"])
    ]
    if arguments == ["full"]:
        os.environ["HAILBOX_FULL"] = "1"
    if arguments == ["check"]:
        runs = [(name, folders, [*options, "-m", "not slow"]) for name, folders, options in runs]
    else:
        runs.append(("with-engine", WITH_ENGINE, ["-v"]))
    well = "failed" not in checks.values()
    total: Counter[str] = Counter()
    lines = []
    for name, folders, options in runs:
        if present := folders_with_tests(folders):
            ended_well, report = pytest(name, present, options)
            well = well and ended_well
            for folder, counter in sorted(count(report).items()):
                lines.append(f"{folder:<14} {line(counter)}")
                total += counter
    print("\nstatic checks:", ", ".join(f"{name} {outcome}" for name, outcome in checks.items()))
    print("\n".join(lines))
    print(f"{arguments[0]}: {'all passed' if well else 'FAILED'} in {time.monotonic() - started:.0f} s")
    print(line(total), flush=True)
    sys.exit(0 if well and total["passed"] else 1)


if __name__ == "__main__":
    main(body)
