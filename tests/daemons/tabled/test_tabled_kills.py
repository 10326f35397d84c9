"""tabled, chunkd and cld are killed at random moments of random operations: what was answered 200 is there and whole.

Of two members of a group one is stopped now and then, for longer than its lease, and goes on.

HAILBOX_FULL=1 kills for four minutes with one member and with two, so that both are done within the ten minutes that
one command may take here; HAILBOX_KILL_SECONDS=N for as long as one likes. HAILBOX_SEED=N repeats a choice of
victims. Each wait has a deadline of its own, so a run ends with what was wrong, and not by the test's time limit.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from haild.client.chunk import ChunkError, Connection
from haild.tabled.metadata.claim import database_file
from support import s3history
from support.tabledstack import Process, Stack, wait_for

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("HAILBOX_KILL_SECONDS", 240 if os.environ.get("HAILBOX_FULL") else 12))
DEADLINES = 600.0
"""Seconds: the sum of all that is waited for beside the kills, if each wait needs as long as it may."""
NODES = 3
WORKERS = 4


def held(stack: Stack, number: int) -> dict[int, int]:
    """Bodies on a node, with their sizes."""

    async def ask() -> dict[int, int]:
        port = stack.chunkd[number - 1].port
        connection = await Connection.open("127.0.0.1", port, user="tabled", secret=b"tabled", table=b"tabled\0")
        try:
            return {int(found.name, 16): found.size for found in await connection.listing()}
        finally:
            await connection.close()

    return asyncio.run(ask())


def recorded(stack: Stack) -> dict[int, dict[int, int]]:
    """By node: the bodies that the metadata say it holds, with their sizes."""
    found: dict[int, dict[int, int]] = {number: {} for number in range(1, NODES + 1)}
    with closing(sqlite3.connect(database_file(stack.directory / "tdb"))) as db:
        for body, size, nodes in db.execute("SELECT body, size, nodes FROM bodies"):
            for number in nodes.split(","):
                found[int(number)][body] = size
    return found


def check_copies(stack: Stack) -> None:
    """Every body is on all nodes, and nothing else is."""

    def settled() -> bool:
        try:
            present = {number: held(stack, number) for number in range(1, NODES + 1)}
        except (OSError, ChunkError):
            return False
        wanted = recorded(stack)
        return present == wanted and wanted[1] == wanted[2] == wanted[3]

    wait_for(settled, "each node has exactly the bodies that the metadata name", 60)


@pytest.mark.timeout(SECONDS + DEADLINES)
@pytest.mark.parametrize("members", [1, 2] if os.environ.get("HAILBOX_FULL") else [1])
def test_killed_at_any_moment(tmp_path: Path, members: int) -> None:
    seed = int(os.environ.get("HAILBOX_SEED", random.SystemRandom().randrange(1 << 32)))
    choice = random.Random(seed)
    print(f"HAILBOX_SEED={seed}")
    stack = Stack(tmp_path, NODES, "<RepairDelay>1</RepairDelay><ForceHost>127.0.0.1</ForceHost>", same_ports=True)
    try:
        stack.wait_serving()
        stack.wait_nodes()
        if members > 1:
            stack.wait_serving(stack.add_tabled("two"))
        stack.client().create_bucket(Bucket="bucket")

        def clients() -> list[Any]:
            return [stack.client(process=one, connect_timeout=2, read_timeout=15) for one in stack.tableds]

        workers = [
            s3history.Worker(clients(), "bucket", f"w{number}", parts=number == 0) for number in range(WORKERS)
        ]
        for worker in workers:
            worker.start()
        kills = _kill(stack, choice, time.monotonic() + SECONDS)
        for worker in workers:
            worker.finish()
        everybody = [stack.cld, *stack.chunkd, *stack.tableds]
        for process in everybody:  # as when the power fails
            process.kill()
        for process in everybody:
            process.start()
        stack.wait_serving()
        wait_for(lambda: _readable(stack, workers), "all nodes are found again", 60)
        s3history.check(workers, stack.client(), "bucket")
        check_copies(stack)
        s3history.check(workers, stack.client(), "bucket")
        answered = sum(len(worker.answered) for worker in workers)
        unsure = sum(len(worker.retired) for worker in workers)
        print(f"{kills} killed, {answered} requests answered, {unsure} keys left in doubt")
        assert answered > 10
        assert not any("Traceback" in stack.log(one) for one in stack.tableds)
    except BaseException:
        for path in tmp_path.glob("*.log"):
            print(path.name, path.read_text()[-3000:])
        raise
    finally:
        stack.close()


def _kill(stack: Stack, choice: random.Random, end: float) -> dict[str, int]:
    """Kill now this one, now that one, sometimes two at once, and start them again; returns how often each died."""
    kills = {"cld": 0, "chunkd": 0, "tabled": 0}
    everybody = [stack.cld, *stack.chunkd, *stack.tableds, stack.tabled]
    while time.monotonic() < end:
        time.sleep(choice.uniform(0.1, 1.5))  # the moment is what is random here
        if len(stack.tableds) > 1 and choice.random() < 0.05:
            _stop_for_longer_than_a_lease(choice.choice(stack.tableds), choice)
        victims = set(choice.sample(everybody, choice.choice([1, 1, 1, 2])))
        for victim in victims:
            victim.kill()
            kills[victim.module.rpartition(".")[2]] += 1
        time.sleep(choice.choice([0.0, 0.2, 1.0]))
        for victim in victims:
            victim.start()
        for member in victims & set(stack.tableds):
            stack.wait_serving(member)
    return kills


def _stop_for_longer_than_a_lease(member: Process, choice: random.Random) -> None:
    """Where it is the master, another one takes over, and it is in the middle of something when it goes on."""
    if member.process is not None:
        member.process.send_signal(signal.SIGSTOP)
        time.sleep(choice.uniform(10.5, 14.0))  # the moment is what is random here
        member.process.send_signal(signal.SIGCONT)


def _readable(stack: Stack, workers: list[s3history.Worker]) -> bool:
    """Whether tabled has found a node for everything again."""
    s3 = stack.client()
    try:
        for worker in workers:
            for key in worker.possible:
                s3history.read(s3, "bucket", key)
    except s3history.FAILURES:
        return False
    return True
