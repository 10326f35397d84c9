"""Memory that a daemon frees is used again, instead of being faulted in from the kernel for each block."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from haild.transfer import memory
memory.keep_freed()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    blocks = [bytes(1 << 20), bytes(1 << 20)]
    blocks.clear()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_freed_blocks_are_used_again() -> None:
    command = [sys.executable, "-c", PROGRAM]
    faults = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert faults < 3 * 2 * (1 << 20) // resource.getpagesize()  # seven times what two blocks take, by default
