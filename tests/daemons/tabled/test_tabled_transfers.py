"""Memory of tabled and its node with 64 large transfers at once. benchmarks/transfers.py does the same with 1 GiB."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from support.tabledrequests import signed_v2
from support.tabledstack import Process, Stack, serving

pytestmark = pytest.mark.slow

TRANSFERS = 64
BLOCK = os.urandom(1 << 20)
SIZE = 10 << 20
LIMIT = 150 << 20
"""Bytes that a daemon may use."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with serving(tmp_path) as stack:
        stack.client().create_bucket(Bucket="large")
        yield stack


def peak_memory(process: Process) -> int:
    """The most that a daemon has had in memory so far, in bytes (VmHWM, proc(5))."""
    assert process.process is not None
    status = Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


def test_memory_stays_bounded_with_many_transfers(stack: Stack) -> None:
    half = Barrier(TRANSFERS)

    def blocks() -> Iterator[bytes]:
        for number in range(SIZE // len(BLOCK)):
            if number == SIZE // len(BLOCK) // 2:
                half.wait(100)  # all of them are under way
            yield BLOCK

    def put(number: int) -> int:
        target = f"/large/{number}"
        connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=100)
        headers = signed_v2("PUT", target) | {"Content-Length": str(SIZE)}
        connection.request("PUT", target, body=blocks(), headers=headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def get(number: int) -> int:
        target = f"/large/{number}"
        connection = http.client.HTTPConnection("127.0.0.1", stack.tabled.port, timeout=100)
        connection.request("GET", target, headers=signed_v2("GET", target))
        response = connection.getresponse()
        whole = 0
        while block := response.read(len(BLOCK)):
            whole += len(block)
            if whole == SIZE // 2:
                half.wait(100)
            assert block == BLOCK
        connection.close()
        return whole

    with ThreadPoolExecutor(TRANSFERS) as threads:
        assert list(threads.map(put, range(TRANSFERS))) == [200] * TRANSFERS
        assert list(threads.map(get, range(TRANSFERS))) == [SIZE] * TRANSFERS
    peaks = {process.module: peak_memory(process) for process in (stack.tabled, *stack.chunkd)}
    assert {name: peak for name, peak in peaks.items() if peak > LIMIT} == {}, peaks
