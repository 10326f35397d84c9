"""What commands print with --json on a real stack is what their schemas in docs/results say."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.enginestack import ROOT, Stack
from support.jsonschema import troubles

COMMANDS = (
    "up --dry-run --profile fs",
    "up --profile fs",
    "up",
    "status",
    "status --why",
    "wait --timeout 5",
    "logs",
    "top",
    "env",
    "ls",
    "config",
    "compose",
    "build",
    "profiles",
    "completion bash",
    "open iwhd",
    "exec iwhd-1 true",
    "run true",
    "fault pause iwhd-1",
    "status",
    "fault ls",
    "fault clear",
    "snapshot save one",
    "snapshot ls",
    "snapshot export one one.hailbox",
    "snapshot import one.hailbox two",
    "snapshot restore one --dry-run",
    "snapshot rm two",
    "reset --quick",
    "reset --to one --dry-run",
    "restart iwhd",
    "doctor",
    "init",
    "down",
    "status",
    "destroy --dry-run",
    "destroy --all --dry-run",
    "destroy",
    "status",
)
"""One after the other. Some fail, as `status` of a frozen stack does: their envelopes have to fit, too."""


@pytest.mark.timeout(300)
def test_every_output_fits_its_schema(stack: Stack) -> None:
    wrong = []
    for line in COMMANDS:
        words = line.split()
        name = " ".join(words[:2]) if words[0] in ("fault", "snapshot") else words[0]
        schema = json.loads((ROOT / "docs" / "results" / f"{name.replace(' ', '-')}.json").read_text())
        separate = ["--json", "--", words[-1]] if words[0] == "run" else [*words[1:], "--json"]
        if words[0] == "exec":
            separate = ["--json", *words[1:]]
        done = subprocess.run(
            stack.command(words[0], *separate),
            cwd=stack.home,
            env=stack.environment(),
            capture_output=True,
            text=True,
        )
        document = json.loads(done.stdout)
        wrong += [f"{line}: {found}" for found in troubles(document, schema, schema)]
    assert wrong == []
