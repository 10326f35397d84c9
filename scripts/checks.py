"""Run the static checks and the tests, and say at the end what ran and how many passed.

    python scripts/checks.py check    what needs no engine: ruff, mypy, the tests that are not slow
    python scripts/checks.py test     that, and tests/stack, tests/faults, tests/clients on the real engine
    python scripts/checks.py second   tests/stack and tests/faults on a second engine, 26.1, in a container
    python scripts/checks.py full     the same as test with every crash point and every fault in place of a sample,
                                      and then second

Exit status 0 only if every check passed and tests ran.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from steps import ROOT, VENV, main

STATIC = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "types": ["mypy"],
}
WITHOUT_ENGINE = tuple(
    f"tests/{name}"
    for name in ("house", "wire", "client", "daemon", "cld", "chunkd", "tabled", "iwhd", "driver", "daemons", "fuzz")
)
WITH_ENGINE = ("tests/stack", "tests/faults", "tests/clients")
WORKERS = str((os.cpu_count() or 2) * 3 // 2)
"""Half of the time these tests wait, for daemons and deadlines: so there are more of them than processors."""
REPORTS = ROOT / "artefacts"
OUTCOMES = ("passed", "failed", "skipped")


@dataclass(frozen=True)
class Run:
    """One run of pytest."""

    name: str
    folders: Sequence[str]
    options: Sequence[str]
    second: bool = False
    """On an engine in a container of its own; see tests/support/nestedengine.py."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for the tests."""


ENGINELESS = Run("without-engine", WITHOUT_ENGINE, ["-q", "-n", WORKERS, "--dist", "loadfile"])
SLOW_TWINS = Run(
    "slow-twins",
    ("tests/daemons",),
    [*ENGINELESS.options, "-m", "not slow and not fast_path"],
    variables={"HAILD_SLOW": "all"},
)
"""The daemons with all fast paths switched off (haild.transfer.fastpath)."""
SECOND = Run("second-engine", ("tests/stack", "tests/faults"), ["-v", "-m", "not second_engine"], second=True)


def runs(wanted: str) -> list[Run]:
    """What `wanted` consists of."""
    if wanted == "check":
        return [Run(ENGINELESS.name, ENGINELESS.folders, [*ENGINELESS.options, "-m", "not slow"])]
    if wanted == "second":
        return [SECOND]
    return [ENGINELESS, SLOW_TWINS, Run("with-engine", WITH_ENGINE, ["-v"]), *([SECOND] if wanted == "full" else [])]


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


def pytest(run: Run, folders: Sequence[str]) -> tuple[bool, Path]:
    """Run pytest over the folders; whether it ended well, and its report."""
    REPORTS.mkdir(exist_ok=True)
    report = REPORTS / f"pytest-{run.name}.xml"
    report.unlink(missing_ok=True)
    python = str(VENV / "bin" / "python")
    command = [python, "-m", "pytest", f"--junit-xml={report}", *run.options, *folders]
    environment = {**os.environ, **run.variables}
    if run.second:
        command = [python, "-m", "support.nestedengine", *command]
        environment["PYTHONPATH"] = str(ROOT / "tests")
        environment.pop("HAILBOX_FULL", None)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0, report


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
    if arguments not in (["check"], ["test"], ["second"], ["full"]):
        sys.stderr.write(f"{__doc__}\n")
        sys.exit(2)
    started = time.monotonic()
    checks = static() if arguments != ["second"] else {}
    if arguments == ["full"]:
        os.environ["HAILBOX_FULL"] = "1"
    well = "failed" not in checks.values()
    total: Counter[str] = Counter()
    lines = []
    for run in runs(arguments[0]):
        if present := folders_with_tests(run.folders):
            ended_well, report = pytest(run, present)
            well = well and ended_well
            for folder, counter in sorted(count(report).items()):
                where = f"{folder} on 26.1" if run.second else f"{folder}, {run.name}" if run.variables else folder
                lines.append(f"{where:<20} {line(counter)}")
                total += counter
    print("\nstatic checks:", ", ".join(f"{name} {outcome}" for name, outcome in checks.items()) or "not asked for")
    print("\n".join(lines))
    print(f"{arguments[0]}: {'all passed' if well else 'FAILED'} in {time.monotonic() - started:.0f} s")
    print(line(total), flush=True)
    sys.exit(0 if well and total["passed"] else 1)


if __name__ == "__main__":
    main(body)
