"""Real processes, real kills: workers that take one lock in turn, a cld that is killed, workers that are stopped.

Each worker notes when it got the lock and every moment at which it still believed in it; no two of these spans
may overlap: the checker is that of the simulated histories. All clocks are that of this machine.

CLD_CHAOS_SECONDS and CLD_CHAOS_SEEDS (comma-separated) in the environment make it longer, and others.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.holders import History, Span

pytestmark = pytest.mark.slow

COUNT = 4
SECONDS = float(os.environ.get("CLD_CHAOS_SECONDS", "60" if os.environ.get("HAILBOX_FULL") else "6"))

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

    def history(self) -> History:
        """Every span of belief until now."""
        history = History()
        for file in self.directory.glob("notes-*"):
            begin = end = 0.0
            for line in [*file.read_text().splitlines(), "got 0"]:
                kind, _, moment = line.partition(" ")
                if kind == "got":
                    if begin:
                        history.add(Span(begin, end, file.name))
                    begin = end = float(moment)
                elif begin:
                    end = float(moment)
        return history


class Server:
    """A cld on a directory and a port that stay; `start` it as often as you like."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = "auto"
        self.process = self.start()
        self.port = (directory / "port").read_text().strip()

    def start(self) -> subprocess.Popen[bytes]:
        (self.directory / "port").unlink(missing_ok=True)
        command = [sys.executable, "-m", "haild.cld", "-F", "-E", "-d", str(self.directory), "-p", self.port]
        self.process = subprocess.Popen([*command, "--port-file", str(self.directory / "port")])
        eventually((self.directory / "port").exists, "cld is up")
        return self.process

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(20)


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)


def one_fault(rng: random.Random, server: Server, workers: Workers) -> None:
    """Something goes wrong, and is over, or goes on, when this returns."""
    number = rng.randrange(COUNT)
    fault = rng.choice(("kill server", "restart server", "stop server", "stop worker", "kill worker", "nothing"))
    if fault in ("kill server", "restart server"):
        server.end(signal.SIGKILL if fault == "kill server" else signal.SIGTERM)
        time.sleep(rng.choice((0, 0, 0.5)))
        server.start()
    elif fault in ("stop server", "stop worker"):
        process = server.process if fault == "stop server" else workers.processes[number]
        process.send_signal(signal.SIGSTOP)
        # The lease is 2 s: shorter than it, longer than what the client allows itself, longer than it.
        time.sleep(rng.choice((0.1, 1.0, 1.7, 2.5)))
        process.send_signal(signal.SIGCONT)
    elif fault == "kill worker":
        workers.kill(number)
        workers.start(number)


@pytest.mark.parametrize("seed", [int(seed) for seed in os.environ.get("CLD_CHAOS_SEEDS", "1,2").split(",")])
def test_histories_of_real_processes_have_one_holder(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    server = Server(tmp_path)
    workers = Workers(tmp_path, int(server.port))
    try:
        for number in range(COUNT):
            workers.start(number)
        eventually(lambda: len({span.holder for span in workers.history()}) == COUNT, "every worker got the lock")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(rng.uniform(0.1, 0.5))
            one_fault(rng, server, workers)
        before = workers.history().check()
        eventually(lambda: workers.history().check() >= before + 5, "the lock is taken in peace again")
    finally:
        for number in workers.processes:
            workers.kill(number)
        server.end(signal.SIGKILL)
    assert workers.history().check() > 10
