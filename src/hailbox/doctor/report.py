"""What a diagnosis returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hailbox.commands.result import StackResult
from hailbox.model.errors import HailboxError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Finding:
    """One root of trouble: its code has a page in docs/errors."""

    code: str
    exit_status: int
    problem: str
    remedy: str


@dataclass(frozen=True)
class Report:
    """All that was looked at and found; the findings begin with what to mend first."""

    stack: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    result: StackResult | None
    """How each replica is; None if there is no such stack."""


@dataclass(frozen=True)
class Examination:
    """A report, and its findings as the errors that they are."""

    report: Report
    errors: tuple[HailboxError, ...]


def findings(errors: Iterable[HailboxError]) -> tuple[Finding, ...]:
    """The errors as plain values."""
    return tuple(Finding(e.code, e.exit_status, e.problem, e.remedy) for e in errors)
