"""Find the root of the trouble: on this host, and in the stack."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command, diagnosed
from hailbox.doctor.bundle import write
from hailbox.doctor.examine import doctor as examine
from hailbox.stack.configfile import FILE

Bundle = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="FILE", help="Also write all that a bug report needs, without secrets (tar.gz)."
    ),
]


@command()
def doctor(context_for: ContextFor, bundle: Bundle = None) -> CommandOutput:
    context = context_for()
    examination = examine(context)
    shown = diagnosed(examination)
    if bundle is None:
        return shown
    write(context, examination.report, bundle, Path.cwd() / FILE)
    packed = f"\nall of this and more for a bug report, without secrets: {bundle}"
    return dataclasses.replace(shown, render=lambda report: render.report(report) + packed)
