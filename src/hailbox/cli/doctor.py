"""The command `hailbox doctor`, and how diagnoses are shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hailbox.cli.command import Shown

if TYPE_CHECKING:
    from hailbox.doctor.report import Examination, Report

Make = Any

Bundle = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="FILE", help="Also write all that a bug report needs, without secrets (tar.gz)."
    ),
]


def shown(examination: Examination) -> Shown:
    """A diagnosis and its first finding, which decides the exit status."""
    first = examination.errors[0] if examination.errors else None
    return Shown(examination.report, text, error=first, essential=True)


def text(report: Report) -> str:
    """The checks, the replicas, and all findings but the first, which is told behind them."""
    from hailbox.cli import render

    lines = [f"{'ok ' if check.ok else 'BAD'}  {check.name:<10} {check.detail}" for check in report.checks]
    if report.result is not None:
        lines.append(render.stack(report.result))
    for finding in report.findings[1:]:
        lines += [f"also: {finding.problem} [{finding.code}]", f"  → {finding.remedy}"]
    return "\n".join(lines)


def doctor(make: Make, bundle: Bundle = None) -> Shown:
    """Find the root of the trouble: on this host, and in the stack."""
    from hailbox.doctor.examine import doctor as run

    context = make()
    examination = run(context)
    if bundle is not None:
        from hailbox.doctor.bundle import write
        from hailbox.stack.definitions import CONFIGURATION_FILE

        write(context, examination.report, bundle, Path.cwd() / CONFIGURATION_FILE)
        packed = f"\nall of this and more for a bug report, without secrets: {bundle}"
        return dataclasses.replace(shown(examination), render=lambda report: text(report) + packed)
    return shown(examination)
