"""The tests of transfers once more, with every fast path switched off: the slow twins do the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from haild.transfer import fastpath

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
MODULES = (
    "tabled/test_tabled_transfers.py",
    "tabled/test_tabled_intake.py",
    "tabled/test_tabled_s3.py",
    "chunkd/test_chunkd_operations.py",
    "chunkd/test_chunkd_flow.py",
    "iwhd/test_iwhd_backends.py",
    "iwhd/test_iwhd_s3.py",
)


def test_all_transfers_without_fast_paths() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(TESTS / name) for name in MODULES)],
        env={**os.environ, fastpath.VARIABLE: fastpath.ALL},
        cwd=TESTS.parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=540,
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert " passed" in run.stdout


def test_names_of_no_fast_path_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fastpath.VARIABLE, "splice, magic")
    fastpath._switched_off.cache_clear()
    try:
        with pytest.raises(ValueError, match="no fast path is called magic"):
            fastpath.enabled("flow")
    finally:
        monkeypatch.undo()
        fastpath._switched_off.cache_clear()
