"""Measures cld: `python benchmarks/cld.py [NAME ...]`. Starts its own servers on loopback; prints a table.

Medians of five where a time is measured; the client is this process, the server another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Awaitable, Callable
from pathlib import Path

from haild.client.cld import OpenMode, Session
from haild.client.cld import machine as cld_machine
from haild.client.cld.machine import RENEW
from haild.wire.cld import messages as cld
from haild.wire.cld import packet as cld_packet
from haild.wire.cld.messages import Op

ROUNDS = 5
LOCK = OpenMode.LOCK | OpenMode.CREATE
HOLDER = """
import asyncio, sys
from haild.client.cld import machine as cld_machine
from haild.client.cld import OpenMode, Session
from haild.client.cld.machine import RENEW

async def main():
    port, transport = int(sys.argv[1]), sys.argv[2]
    session = await Session.connect("127.0.0.1", port, user="tabled", secret=b"tabled", transport=transport)
    await session.lock(await session.open("/lock", OpenMode.LOCK | OpenMode.CREATE))
    print("held", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Daemon:
    """A cld in a directory of its own."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="cld-bench-"))
        self.port = 0
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        file = self.directory / "port"
        file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "haild.cld", "-F", "-E", "-d", str(self.directory), "--port-file", str(file)]
        command += ["-p", str(self.port or "auto")]
        self.process = subprocess.Popen(command, stderr=(self.directory / "log").open("ab"))
        while not file.exists():
            time.sleep(0.002)
        self.port = int(file.read_text())
        return self.process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait()

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    async def session(self, transport: str = "tcp") -> Session:
        assert transport in ("tcp", "udp")
        return await Session.connect(
            "127.0.0.1",
            self.port,
            user="tabled",
            secret=b"tabled",
            transport="tcp" if transport == "tcp" else "udp",
            deadline=30,
        )


def show(what: str, value: str) -> None:
    print(f"{what:<72} {value:>24}", flush=True)


async def startup(daemon: Daemon) -> None:
    times = []
    for _ in range(ROUNDS):
        daemon.stop()
        started = time.perf_counter()
        daemon.start()
        times.append(time.perf_counter() - started)
    show("start until serving", f"{statistics.median(times):.3f} s")
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        daemon.stop()
        times.append(time.perf_counter() - started)
        daemon.start()
    show("SIGTERM until gone", f"{statistics.median(times):.3f} s")


async def pairs(daemon: Daemon) -> None:
    for count in (1, 16, 64):
        sessions = [await daemon.session() for _ in range(count)]
        handles = [await session.open(f"/pair{number}", LOCK) for number, session in enumerate(sessions)]
        rates = []
        total = 0
        server, client = daemon.cpu(), time.process_time()
        for _ in range(ROUNDS):
            done = 0
            end = time.perf_counter() + 2

            async def work(session: Session, handle: int, end: float = end) -> int:
                pairs = 0
                while time.perf_counter() < end:
                    await session.lock(handle)
                    await session.unlock(handle)
                    pairs += 1
                return pairs

            started = time.perf_counter()
            done = sum(await asyncio.gather(*map(work, sessions, handles)))
            rates.append(done / (time.perf_counter() - started))
            total += done
        show(f"lock and unlock pairs, TCP, {count} sessions", f"{statistics.median(rates):.0f}/s")
        server, client = daemon.cpu() - server, time.process_time() - client
        spent = f"{server / total * 1000:.2f}, {client / total * 1000:.2f} ms"
        show("  processor time a pair, server and client", spent)
        await asyncio.gather(*(session.end() for session in sessions))


IDLE = 20
"""Seconds for which idle sessions are measured."""


async def idle(daemon: Daemon) -> None:
    """Also with renewals that do not come in groups: as from sessions each on a host of its own."""
    for transport in ("udp", "tcp"):
        for together, where in ((1e-9, "a host each"), (cld_machine.TOGETHER, "one host")):
            with unittest.mock.patch.object(cld_machine, "TOGETHER", together):
                sessions = await idle_sessions(daemon, transport, where)
                if (transport, where) == ("tcp", "one host"):
                    await resumed(daemon, sessions)
                await asyncio.gather(*(session.end() for session in sessions))


async def idle_sessions(daemon: Daemon, transport: str, where: str) -> list[Session]:
    sessions = []
    for number in range(1000):
        session = await daemon.session(transport)
        await session.lock(await session.open(f"/idle{number}", LOCK))
        sessions.append(session)
    await asyncio.sleep(RENEW * sessions[0].lease)
    cpu, started = daemon.cpu(), time.perf_counter()
    await asyncio.sleep(IDLE)
    used = (daemon.cpu() - cpu) / (time.perf_counter() - started)
    show(f"1000 sessions with a lock each, {transport.upper()}, {where}, idle {IDLE} s", f"{used:.1%} of a core")
    show("  memory of the server", f"{daemon.memory():.0f} MiB")
    assert all(session.valid for session in sessions)
    return sessions


async def resumed(daemon: Daemon, sessions: list[Session]) -> None:
    started = time.perf_counter()
    daemon.stop(signal.SIGKILL)
    daemon.start()
    up = time.perf_counter() - started
    handle = 2
    await asyncio.gather(*(session.get_metadata(handle) for session in sessions), return_exceptions=True)
    assert all(session.valid for session in sessions)
    show("  server killed and started: serving", f"{up:.3f} s")
    show("  all 1000 sessions resumed", f"{time.perf_counter() - started:.3f} s")


async def unused(daemon: Daemon) -> None:
    cpu = daemon.cpu()
    await asyncio.sleep(20)
    show("no client, 20 s", f"{(daemon.cpu() - cpu) / 20:.2%} of a core")


async def death(daemon: Daemon) -> None:
    for transport in ("tcp", "udp"):
        for kind in ("LOCK was waiting", "TRYLOCK afterwards"):
            times = []
            for _ in range(ROUNDS):
                other = await daemon.session()
                holder = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", HOLDER, str(daemon.port), transport, stdout=asyncio.subprocess.PIPE
                )
                assert holder.stdout is not None
                await holder.stdout.readline()
                handle = await other.open("/lock", OpenMode.LOCK)
                waiting = asyncio.ensure_future(other.lock(handle)) if kind.startswith("LOCK") else None
                await asyncio.sleep(random.uniform(0.1, 0.6))
                started = time.perf_counter()
                holder.kill()
                if waiting is not None:
                    await waiting
                else:
                    while not await other.try_lock(handle):
                        pass
                times.append(time.perf_counter() - started)
                await holder.wait()
                await other.end()
            longest = f"{statistics.median(times):.3f} s, max {max(times):.3f}"
            show(f"holder on {transport.upper()} killed until its lock is held by another, {kind}", longest)


async def resumption(daemon: Daemon) -> None:
    for transport in ("tcp", "udp"):
        times = []
        for _ in range(ROUNDS):
            session = await daemon.session(transport)
            handle = await session.open("/resumed", LOCK)
            await session.lock(handle)
            daemon.stop(signal.SIGKILL)
            started = time.perf_counter()
            daemon.start()
            await session.unlock(handle)
            times.append(time.perf_counter() - started)
            await session.end()
        text = f"{statistics.median(times):.3f} s, max {max(times):.3f}"
        show(f"server killed, started, and a session on {transport.upper()} used again", text)


async def latency(session: Session) -> float:
    handle = await session.open("/latency", LOCK)
    times = []
    for _ in range(200):
        started = time.perf_counter()
        await session.lock(handle)
        await session.unlock(handle)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


async def silent(daemon: Daemon) -> None:
    session = await daemon.session()
    before = await latency(session)
    memory, descriptors = daemon.memory(), daemon.descriptors()
    sockets = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(2000)]
    during = await latency(session)
    show("lock and unlock, alone", f"{before * 1000:.2f} ms")
    show("lock and unlock, beside 2000 connections that say nothing", f"{during * 1000:.2f} ms")
    show("  memory of the server before and during", f"{memory:.0f}, {daemon.memory():.0f} MiB")
    for sock in sockets:
        sock.close()
    await latency(session)
    show("  descriptors before and after", f"{descriptors}, {daemon.descriptors()}")
    await session.end()


async def slow(daemon: Daemon) -> None:
    """Clients that ask for 128 KiB sixty times and read one byte a second, others that stop in a message."""
    session = await daemon.session()
    handle = await session.open("/big", OpenMode.READ | OpenMode.WRITE | OpenMode.CREATE)
    await session.put(handle, bytes(cld.MAXIMUM_DATA))
    before = daemon.memory()
    key = cld_packet.Key(b"slow")
    sockets = []
    for number in range(200):
        sock = socket.create_connection(("127.0.0.1", daemon.port))
        sock.setblocking(False)
        requests = [(Op.NEW_SESS, b""), (Op.OPEN, cld.OpenRequest(OpenMode.READ, 0, b"/big").encode())]
        requests += [(Op.GET, cld.HandleRequest(2).encode())] * 60
        packets = [
            cld_packet.Packet(b"slow%04d" % number, b"slow", 3, count, op, body, count)
            for count, (op, body) in enumerate(requests, 1)
        ]
        stream = [
            cld_packet.frame(cld_packet.seal(packet, key), cld_packet.Direction.TO_SERVER) for packet in packets
        ]
        with contextlib.suppress(OSError):
            sock.send(b"".join(stream) if number % 2 else stream[0] + stream[1][:50])
        sockets.append(sock)
    highest = 0.0
    for _ in range(5):
        await asyncio.sleep(1)
        highest = max(highest, daemon.memory())
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.recv(1)
    show(
        "lock and unlock beside 200 clients that do not read or stop halfway",
        f"{await latency(session) * 1000:.2f} ms",
    )
    show("  memory of the server before and at most", f"{before:.0f}, {highest:.0f} MiB")
    for sock in sockets:
        sock.close()
    await session.end()


async def mutated(daemon: Daemon) -> None:
    """100,000 changed packets, half over UDP, half over TCP; most are signed, so that they reach the bodies."""
    rng = random.Random(4)
    key = cld_packet.Key(b"testuser")
    session = await daemon.session()
    handle = await session.open("/mutated", OpenMode.READ | OpenMode.WRITE | LOCK)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect(("127.0.0.1", daemon.port))
    udp.setblocking(False)
    sequence = {True: 0x1000, False: 0x1000}
    sids = {True: rng.randbytes(8), False: rng.randbytes(8)}
    bodies = [
        cld.OpenRequest(0x1F, 7, b"/fuzz").encode(),
        cld.PutRequest(2, b"x" * 600).encode(),
        cld.HandleRequest(2).encode(),
        cld.LockRequest(2, 0).encode(),
        cld.PathRequest(b"/fuzz").encode(),
        b"",
    ]
    tcp = socket.create_connection(("127.0.0.1", daemon.port))
    tcp.setblocking(False)
    readings: list[tuple[float, int]] = []

    def packet(reliable: bool) -> bytes:
        op = rng.choice((1, *range(18), rng.getrandbits(32)))
        order = rng.choice((3, 3, 3, 3, 0, 1, 2, 9))
        body = bytearray(rng.choice(bodies))
        for _ in range(rng.choice((0, 1, 3)) if body else 0):
            body[rng.randrange(len(body))] = rng.getrandbits(8)
        sid = sids[reliable] if rng.random() < 0.95 else rng.randbytes(8)
        data = cld_packet.seal(
            cld_packet.Packet(sid, b"testuser", order, rng.getrandbits(64), op, bytes(body), sequence[reliable]), key
        )
        if op != Op.ACK and order in (0, 1, 2, 3):
            sequence[reliable] += 1
        if rng.random() < 0.1:
            changed = bytearray(data)
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            data = bytes(changed[: rng.randrange(len(changed))] if rng.random() < 0.5 else changed)
        return data

    for number in range(100_000):
        if number % 2:
            try:
                udp.send(packet(False))
                udp.recv(4096)
            except OSError:
                pass
        else:
            try:
                framed = cld_packet.frame(packet(True), cld_packet.Direction.TO_SERVER)
                if rng.random() < 0.001:
                    framed = rng.randbytes(len(framed))
                tcp.sendall(framed)
                tcp.recv(65536)
            except BlockingIOError:
                pass
            except OSError:
                tcp.close()
                tcp = socket.create_connection(("127.0.0.1", daemon.port))
                tcp.setblocking(False)
                sids[True] = rng.randbytes(8)
        if number % 2000 == 0:
            sids[False] = rng.randbytes(8)
            await session.get(handle)
            readings.append((daemon.memory(), daemon.descriptors()))
    tcp.close()
    udp.close()
    await latency(session)
    assert session.valid
    assert daemon.process.poll() is None
    first, last = readings[5], (daemon.memory(), daemon.descriptors())
    show("100,000 mutated packets: memory after 10,000 and at the end", f"{first[0]:.1f}, {last[0]:.1f} MiB")
    show("  descriptors after 10,000 and at the end", f"{first[1]}, {last[1]}")
    show("  tracebacks in the log", str((daemon.directory / "log").read_text().count("Traceback")))
    await session.end()


MEASUREMENTS: dict[str, Callable[[Daemon], Awaitable[None]]] = {
    function.__name__: function
    for function in (startup, unused, pairs, death, resumption, silent, slow, mutated, idle)
}


async def main(names: list[str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in names or MEASUREMENTS:
        daemon = Daemon()
        try:
            await MEASUREMENTS[name](daemon)
        finally:
            daemon.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
