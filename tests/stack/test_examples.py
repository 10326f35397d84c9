"""The examples in other languages, each on a stack of its own, which it removes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from support.enginestack import ROOT, Stack

EXAMPLES = {
    "sh": ("warehouse.sh", ["sh", "warehouse.sh"], "ok test_a_new_warehouse_has_no_images"),
    "node": ("warehouse.test.mjs", ["node", "--test", "--test-reporter=tap", "warehouse.test.mjs"], "# pass 2"),
    "go": ("warehouse_test.go", ["go", "test", "-v", "warehouse_test.go"], "--- PASS: TestANewWarehouseHasNoImages"),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", EXAMPLES)
def test_an_example_passes_and_leaves_nothing(program: str, stack: Stack) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed here")
    name, command, expected = EXAMPLES[program]
    shutil.copy(ROOT / "docs" / "examples" / name, stack.home)
    (stack.home / "bin").mkdir()
    hailbox = stack.home / "bin" / "hailbox"
    hailbox.write_text(f'#!/bin/sh\nexec {sys.executable} -m hailbox "$@"\n')
    hailbox.chmod(0o755)
    environment = stack.environment() | {"HAILBOX_STACK": stack.name}
    environment["PATH"] = f"{stack.home}/bin:{environment['PATH']}"
    done = subprocess.run(command, cwd=stack.home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert expected in done.stdout
    assert stack.labelled() == []
