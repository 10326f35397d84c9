"""Soak: `python -m soak.run --minutes 60 --seed 1` (with tests/ on PYTHONPATH; `make soak` does it).

Exit status 0 only if nothing was lost, nothing left, and no step by hand was needed. Adds a row to
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import subprocess
import tempfile
import time
from pathlib import Path

import docker

from soak import plan, report
from soak.session import Session, Tally
from support.enginestack import ROOT

DISTURBANCES = 25
"""On one stack, before it is destroyed and the next one made."""


def soak(seed: int, minutes: float, *, most: int | None = None, profiles: tuple[str, ...] = plan.PROFILES) -> Tally:
    """Soak for that long, or until `most` disturbances are over; what was counted."""
    tally = Tally()
    until = time.monotonic() + 60 * minutes
    for number, profile in enumerate(itertools.cycle(profiles)):
        done = tally.disturbances.total()
        if time.monotonic() >= until or (most is not None and done >= most):
            return tally
        limit = DISTURBANCES if most is None else min(DISTURBANCES, most - done)
        print(f"stack {number + 1}: profile {profile}, seed {seed + number}", flush=True)
        with tempfile.TemporaryDirectory() as directory:
            Session(seed + number, profile, Path(directory), tally).run(until, limit)
    return tally


def main() -> int:
    """Run, tell, and add to the page."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10_000)
    parser.add_argument("--profiles", default=",".join(plan.PROFILES))
    parser.add_argument("--no-page", action="store_true", help="leave docs/reliability.md as it is")
    chosen = parser.parse_args()
    began = time.monotonic()
    tally = soak(chosen.seed, chosen.minutes, profiles=tuple(chosen.profiles.split(",")))
    minutes = (time.monotonic() - began) / 60
    client = docker.from_env()
    engine = client.version()["Version"]
    client.close()
    code = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")
    run = report.Run(when, code or "unknown", engine, chosen.seed, minutes)
    if not chosen.no_page:
        report.add(run, tally)
    print(report.row(run, tally))
    print(dict(tally.disturbances))
    for title, found in (("manual step", tally.manual), ("lost", tally.lost), ("left", tally.left)):
        for text in found:
            print(f"{title}: {text}")
    return 0 if tally.clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
