"""Real processes, real kills: workers that take one lock in turn, a cld that is killed, workers that are stopped.

Each worker notes when it got the lock and every moment at which it still believed in it; no two of these spans
may overlap. All clocks are that of this machine.

CLD_CHAOS_SECONDS and CLD_CHAOS_SEED in the environment make it longer or another one.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKER = """
import asyncio, random, sys, time
from haild.client.cld import OpenMode, keep_session

port, transport, notes = int(sys.argv[1]), sys.argv[2], open(sys.argv[3], "a", buffering=1)

def note(kind):
    notes.write(f"{kind} {time.clock_gettime(time.CLOCK_BOOTTIME)}\\n")

async def use(session):
    handle = await session.open("/lock", OpenMode.LOCK | OpenMode.CREATE)
    while True:
        if random.random() < 0.5:
            await session.lock(handle)
        elif not await session.try_lock(handle):
            await asyncio.sleep(0.02)
            continue
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        if session.valid:
            notes.write(f"got {now}\\n")
        end = time.monotonic() + random.uniform(0.0, 0.3)
        while time.monotonic() < end:
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            if session.valid:
                notes.write(f"has {now}\\n")
            await asyncio.sleep(0.005)
        await session.unlock(handle)
        await asyncio.sleep(random.uniform(0.0, 0.05))

async def main():
    await keep_session([("127.0.0.1", port)], "tabled", b"tabled", use, name="worker", transport=transport, lease=2)

asyncio.run(main())
"""


class Workers:
    """Processes that take the lock; each start writes notes of its own."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.started = 0
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        self.started += 1
        transport = "tcp" if number % 3 else "udp"
        command = [sys.executable, "-c", WORKER, str(self.port), transport]
        self.processes[number] = subprocess.Popen([*command, str(self.directory / f"notes-{self.started}")])

    def kill(self, number: int) -> None:
        self.processes[number].kill()
        self.processes[number].wait()

    def spans(self) -> list[tuple[float, float, str]]:
        """Every span of belief: from, until, whose."""
        spans: list[tuple[float, float, str]] = []
        for file in self.directory.glob("notes-*"):
            begin = end = 0.0
            for line in [*file.read_text().splitlines(), "got 0"]:
                kind, _, moment = line.partition(" ")
                if kind == "got":
                    if begin:
                        spans.append((begin, end, file.name))
                    begin = end = float(moment)
                elif begin:
                    end = float(moment)
        return sorted(spans)


@pytest.mark.parametrize("seed", [int(os.environ.get("CLD_CHAOS_SEED", "1"))])
def test_spans_of_belief_do_not_overlap(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    seconds = float(os.environ.get("CLD_CHAOS_SECONDS", "3"))

    def start_server(port: str) -> subprocess.Popen[bytes]:
        (tmp_path / "port").unlink(missing_ok=True)
        command = [sys.executable, "-m", "haild.cld", "-F", "-E", "-d", str(tmp_path), "-p", port]
        process = subprocess.Popen([*command, "--port-file", str(tmp_path / "port")])
        deadline = time.monotonic() + 20
        while not (tmp_path / "port").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return process

    server = start_server("auto")
    port = (tmp_path / "port").read_text().strip()
    workers = Workers(tmp_path, int(port))
    try:
        for number in range(4):
            workers.start(number)
        deadline = time.monotonic() + 20
        while len({name for *_, name in workers.spans()}) < 4:
            assert time.monotonic() < deadline, "not every worker got the lock"
            time.sleep(0.05)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(rng.uniform(0.1, 0.5))
            number = rng.randrange(4)
            fault = rng.choice(("kill server", "stop", "kill worker", "nothing"))
            if fault == "kill server":
                server.kill()
                server.wait()
                time.sleep(rng.choice((0, 0, 0.5)))
                server = start_server(port)
            elif fault == "stop":
                workers.processes[number].send_signal(signal.SIGSTOP)
                time.sleep(rng.choice((0.1, 1.0, 2.5)))
                workers.processes[number].send_signal(signal.SIGCONT)
            elif fault == "kill worker":
                workers.kill(number)
                workers.start(number)
        before = len(workers.spans())
        deadline = time.monotonic() + 10
        while len(workers.spans()) < before + 5:
            assert time.monotonic() < deadline, "the lock is not taken any more"
            time.sleep(0.05)
    finally:
        for number in workers.processes:
            workers.kill(number)
        server.kill()
        server.wait()
    spans = workers.spans()
    assert len(spans) > 10
    for (_, until, first), (begin, _, second) in itertools.pairwise(spans):
        assert until < begin, f"{first} believed until {until}, {second} from {begin}"
