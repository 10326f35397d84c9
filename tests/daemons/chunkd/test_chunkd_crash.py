"""A crash at any point leaves the old or the new state, and no debris after the next start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: a kill loses nothing there either, and flushing costs nothing."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as name:
        yield Path(name)


def test_a_kill_at_every_change_of_the_file_system(memory: Path) -> None:
    script = Path(__file__).parents[2] / "support" / "chunkd_crash_sweep.py"
    result = subprocess.run([sys.executable, str(script), str(memory)], capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr[-3000:]
    calls, writes = map(int, result.stdout.split())
    assert calls > 60
    assert writes >= 6
