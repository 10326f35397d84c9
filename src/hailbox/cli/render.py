"""Results as text for a person: tables of plain columns, one idea per line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # what a command does not need it does not load
    from hailbox.commands.build import BuildResult
    from hailbox.commands.down import Removal
    from hailbox.commands.ls import StackSummary
    from hailbox.commands.preview import Preview
    from hailbox.commands.reset import ResetResult
    from hailbox.commands.result import StackResult
    from hailbox.doctor.report import Report
    from hailbox.model.catalog import Profile
    from hailbox.snapshot.restore import Restored


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two blanks apart."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def stack(result: StackResult) -> str:
    """Each replica, how it is, and where it is reached."""
    if result.down:
        return f"stack {result.stack}, profile {result.profile}: down"
    rows = [
        (
            replica.replica,
            "working" if replica.working else "NOT WORKING",
            replica.endpoint,
            f"{replica.seconds:.1f} s" if replica.working else replica.reason,
        )
        for replica in result.replicas
    ]
    lines = [f"stack {result.stack}, profile {result.profile}"]
    if rows:
        lines.append(table(("REPLICA", "STATE", "ADDRESS", ""), rows))
    lines += result.notes
    if result.seeded:
        lines.append(f"seeded: {result.seeded} files")
    if result.ended_faults:
        lines.append(f"ended faults: {', '.join(result.ended_faults)}")
    if result.healed:
        lines.append(f"healed: {', '.join(result.healed)}")
    lines += [
        f"LOST: the data of {name} was gone (its volume had been removed); it started empty" for name in result.lost
    ]
    if result.lost_credentials:
        lines.append(
            f"LOST: {', '.join(result.lost_credentials)} could not be found in any file and are new; what was stored"
            " with the old ones is out of reach: restore a snapshot, or start empty:"
            f" hailbox --stack {result.stack} reset"
        )
    lines += [
        f"port {given.wanted} is held by {given.holder}; {given.replica} is at {given.given} instead"
        for given in result.substitutions
    ]
    return "\n".join(lines)


_BAR: Final = 40
"""Columns that stand for the whole time."""


def stack_with_timings(result: StackResult) -> str:
    """The stack, and the steps on a common scale of time: one after the other, they are the critical chain."""
    scale = _BAR / max(replica.seconds for replica in result.replicas)
    rows = []
    for span in result.timings:
        begin, end = round(span.begin * scale), round(span.end * scale)
        bar = " " * begin + "#" * (end - begin or 1)
        rows.append((span.name, f"{span.begin:.2f}", f"{span.end - span.begin:.2f}", bar))
    replicas = sorted(result.replicas, key=lambda replica: replica.seconds)
    rows += [(f"{r.replica} works", f"{r.seconds:.2f}", "", " " * round(r.seconds * scale) + "*") for r in replicas]
    return f"{stack(result)}\n\n" + table(("STEP", "FROM", "SECONDS", ""), rows)


def removal(verb: str) -> Callable[[Removal], str]:
    """What was removed, or would be."""

    def render(result: Removal) -> str:
        lines = [f"{verb}: would remove" if result.dry_run else f"{verb}: removed"]
        for kind in ("containers", "volumes", "networks", "images"):
            found: tuple[str, ...] = getattr(result, kind)
            lines += [f"  {kind.removesuffix('s')} {name}" for name in found]
        if len(lines) == 1:
            lines = [f"{verb}: nothing to remove"]
        if result.killed:
            lines.append(f"killed, because they did not stop when asked: {', '.join(result.killed)}")
        return "\n".join(lines)

    return render


def reset(result: ResetResult) -> str:
    """What was discarded, then the stack."""
    if result.quick and result.stack is not None:
        return f"the daemons have discarded their data\n{stack(result.stack)}"
    discarded = removal("reset")(result.removal)
    return discarded if result.stack is None else stack(result.stack)


def reset_with_timings(result: ResetResult) -> str:
    """What was discarded, then the stack and the steps."""
    return reset(result) if result.stack is None else stack_with_timings(result.stack)


def restored(*, timings: bool) -> Callable[[Restored], str]:
    """What a restored snapshot replaced, or the stack that came up from it."""

    def render(result: Restored) -> str:
        if result.stack is None:
            return removal("restore")(result.removal)
        return stack_with_timings(result.stack) if timings else stack(result.stack)

    return render


def report(result: Report) -> str:
    """The checks, the replicas, and all findings but the first, which is printed after them."""
    lines = [f"{'ok ' if check.ok else 'BAD'}  {check.name:<10} {check.detail}" for check in result.checks]
    if result.result is not None:
        lines.append(stack(result.result))
    for finding in result.findings[1:]:
        lines += [f"also: {finding.problem} [{finding.code}]", f"  → {finding.remedy}"]
    return "\n".join(lines)


def preview(result: Preview) -> str:
    """What an `up` would do."""
    lines = [f"stack {result.stack}, profile {result.profile}: an up would"]
    lines += [f"  build {reference}" for reference in result.images]
    lines += [f"  make or re-create {name}" for name in result.changed]
    lines += [f"  start {name} empty: its data is gone" for name in result.lost]
    return "\n".join(lines if len(lines) > 1 else [f"{lines[0]} change nothing"])


def build(result: BuildResult) -> str:
    """The images by service."""
    pushed = "".join(f"\npushed {name}" for name in result.pushed)
    return table(("SERVICE", "IMAGE"), sorted(result.images.items())) + pushed


def stacks(result: Sequence[StackSummary]) -> str:
    """All stacks, a line each."""
    if not result:
        return "no stacks on this engine; create one with: hailbox up"
    rows = [
        (
            summary.stack,
            summary.profile,
            f"{summary.running}/{summary.containers}",
            str(summary.volumes),
            " ".join(summary.endpoints.values()),
        )
        for summary in result
    ]
    return table(("STACK", "PROFILE", "RUNNING", "VOLUMES", "ADDRESSES"), rows)


def profiles(result: Sequence[Profile]) -> str:
    """All profiles: how many of each service, and what for."""
    rows = [
        (profile.name, " ".join(f"{name}:{count}" for name, count in profile.counts.items()), profile.summary)
        for profile in result
    ]
    return table(("PROFILE", "SERVICES", ""), rows)


def env(result: dict[str, str]) -> str:
    """`KEY=VALUE` lines; no value holds a character that a shell treats specially."""
    return "\n".join(f"{name}={value}" for name, value in result.items())
