"""What follows a fault, in seconds, and how soon each daemon is ready: `python benchmarks/recovery.py [--rounds 5]`.

cld, chunkd, tabled and iwhd as plain processes on loopback, each with its data in one directory. "Serves" means that
what a client asks for is done: an object stored in S3 and read back, a node that takes and returns an object, a lock
taken. Medians and worst of some rounds, beside what the issue that set the figures allows and what the C originals
were measured to take.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from haild.client.chunk import ChunkError, Connection
from haild.client.cld import CldError, OpenMode, Session
from haild.client.http import ServiceError
from haild.client.s3 import S3Client

HOST = "127.0.0.1"
USER = "bench"
LOCK = OpenMode.LOCK | OpenMode.CREATE
PATIENCE = 60.0
HOLDER = """
import asyncio, sys
from haild.client.cld import OpenMode, Session

async def main():
    session = await Session.connect("127.0.0.1", int(sys.argv[1]), user="tabled", secret=b"tabled")
    await session.lock(await session.open("/held", OpenMode.LOCK | OpenMode.CREATE))
    print("held", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def free_ports(count: int) -> list[int]:
    """Free ports, all different."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


class Process:
    """One daemon of the stack; `start` it as often as you like."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", f"haild.{name}", *arguments]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self) -> None:
        if self._process is not None:
            self._process.wait(PATIENCE)


class Stack:
    """The four daemons on ports that stay."""

    def __init__(self, root: Path) -> None:
        self.cld_port, self.chunkd_port, self.tabled_port, self.iwhd_port, self.standby_port = free_ports(5)
        for name in ("cld", "chunk", "tdb"):
            (root / name).mkdir()
        cld = f"<CLD><Host>{HOST}</Host><Port>{self.cld_port}</Port></CLD>"
        (root / "chunkd.conf").write_text(
            f"<Listen><Port>{self.chunkd_port}</Port><Node>{HOST}</Node></Listen><Path>{root}/chunk</Path>"
            f"<NID>1</NID><InfoPath>/chunk-default/1</InfoPath>{cld}<PID>{root}/chunkd.pid</PID>"
        )
        (root / "users").write_text(f"{USER}\t{USER}\n")
        for name, port in (("tabled", self.tabled_port), ("standby", self.standby_port)):
            (root / f"{name}.conf").write_text(
                f"<TDB>{root}/tdb</TDB><Listen><Port>{port}</Port></Listen><ForceHost>{HOST}</ForceHost>"
                f"<TDBRepName>{name}</TDBRepName>{cld}<Users>{root}/users</Users><PID>{root}/{name}.pid</PID>"
            )
        provider = {
            "name": "primary",
            "type": "s3",
            "host": HOST,
            "port": self.tabled_port,
            "key": USER,
            "secret": USER,
        }
        (root / "iwhd.json").write_text(json.dumps([provider]))
        cld_options = ["-F", "-E", "-d", f"{root}/cld", "-p", str(self.cld_port), "-P", f"{root}/cld.pid"]
        self.cld = Process("cld", cld_options, root / "cld.log")
        self.chunkd = Process("chunkd", ["-F", "-E", "-C", f"{root}/chunkd.conf"], root / "chunkd.log")
        self.tabled = Process("tabled", ["-F", "-E", "-C", f"{root}/tabled.conf"], root / "tabled.log")
        self.standby = Process("tabled", ["-F", "-E", "-C", f"{root}/standby.conf"], root / "standby.log")
        iwhd_options = ["-c", f"{root}/iwhd.json", "-p", str(self.iwhd_port), "-d", f"{root}/meta"]
        self.iwhd = Process("iwhd", iwhd_options, root / "iwhd.log")
        self.all = (self.cld, self.chunkd, self.tabled, self.iwhd)

    def start(self) -> None:
        for process in self.all:
            process.start()

    def end(self, number: signal.Signals) -> None:
        """End all at once, and wait until they are gone."""
        for process in (*self.all, self.standby):
            process.send(number)
        for process in (*self.all, self.standby):
            process.wait()


async def eventually(serves: Callable[[], Awaitable[None]], what: str) -> None:
    """Return as soon as `serves` does not raise."""
    end = time.perf_counter() + PATIENCE
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                await serves()
            return
        except (ChunkError, CldError, OSError, ServiceError) as error:
            if time.perf_counter() > end:
                raise SystemExit(f"not within {PATIENCE:.0f} s: {what}: {error}") from error
        await asyncio.sleep(0.005)


class Probes:
    """What each daemon is asked to do."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._count = 0

    def _name(self) -> str:
        self._count += 1
        return f"object-{self._count}"

    async def cld(self) -> None:
        session = await Session.connect(HOST, self._stack.cld_port, user="tabled", secret=b"tabled", deadline=1)
        try:
            if not await session.try_lock(await session.open("/probe", LOCK)):
                raise OSError("the lock is taken")
        finally:
            await session.end()

    async def chunkd(self) -> None:
        connection = await Connection.open(HOST, self._stack.chunkd_port, user="u", secret=b"u", deadline=1)
        try:
            await connection.open_table(b"probe", create=True)
            key = self._name().encode()
            with contextlib.suppress(ChunkError):
                await connection.delete(key)
            await connection.put(key, 7, b"content")
            if await (await connection.get(key)).read_all() != b"content":
                raise OSError("other content than was stored")
        finally:
            await connection.close()

    async def _object(self, size: int, port: int) -> None:
        async with S3Client(HOST, port, key=USER, secret=USER) as client:
            with contextlib.suppress(ServiceError):
                await client.create_bucket("probe")
            key, body = self._name(), os.urandom(size)
            await client.put_object("probe", key, body)
            async with client.get_object("probe", key) as stored:
                if b"".join([piece async for piece in stored]) != body:
                    raise OSError("other content than was stored")

    async def tabled(self) -> None:
        await self._object(1000, self._stack.tabled_port)

    async def standby(self) -> None:
        await self._object(1000, self._stack.standby_port)

    async def iwhd(self) -> None:
        bucket, key = "probe2", self._name()
        requests = [("PUT", f"/{bucket}", b""), ("PUT", f"/{bucket}/{key}", b"c"), ("GET", f"/{bucket}/{key}", b"")]
        for method, path, body in requests:
            status, answer = await http(self._stack.iwhd_port, method, path, body)
            # The bucket may be there from the time before.
            if status >= 400 and path != f"/{bucket}":
                raise OSError(f"status {status}")
        if answer != b"c":
            raise OSError("other content than was stored")


async def http(port: int, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own; status and body of the answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        head = f"{method} {path} HTTP/1.0\r\nHost: {HOST}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.read()
    finally:
        writer.close()
    head_bytes, _, content = answer.partition(b"\r\n\r\n")
    if not head_bytes:
        raise OSError("no answer")
    return int(head_bytes.split()[1]), content


def show(what: str, times: list[float], allowed: float | None, original: str) -> None:
    figures = f"{statistics.median(times):.3f} s, worst {max(times):.3f}"
    limit = f"at most {allowed:g} s" if allowed is not None else ""
    print(f"{what:<66} {figures:>24}   {limit:<14} {original}", flush=True)


class Faults:
    """The measurements; each leaves a working stack behind."""

    def __init__(self, stack: Stack, rounds: int) -> None:
        self._stack = stack
        self._probes = Probes(stack)
        self._rounds = rounds

    async def _all_serve(self) -> None:
        probes = self._probes
        for name in ("cld", "chunkd", "tabled", "iwhd"):
            await eventually(getattr(probes, name), name)

    async def ready(self) -> None:
        """Each daemon, cleanly stopped and started, with its peers there."""
        for process in self._stack.all:
            times = []
            for _ in range(self._rounds):
                process.send(signal.SIGTERM)
                process.wait()
                begin = time.perf_counter()
                process.start()
                await eventually(getattr(self._probes, process.name), process.name)
                times.append(time.perf_counter() - begin)
            show(f"{process.name} started until it serves", times, None, "")

    async def killed_client(self) -> None:
        times = []
        for _ in range(self._rounds):
            holder = await asyncio.create_subprocess_exec(
                sys.executable, "-c", HOLDER, str(self._stack.cld_port), stdout=asyncio.subprocess.PIPE
            )
            assert holder.stdout is not None
            await holder.stdout.readline()
            other = await Session.connect(HOST, self._stack.cld_port, user="tabled", secret=b"tabled")
            handle = await other.open("/held", LOCK)
            assert not await other.try_lock(handle)
            holder.kill()
            begin = time.perf_counter()
            while not await other.try_lock(handle):
                pass
            times.append(time.perf_counter() - begin)
            await other.end()
            await holder.wait()
        show("a client killed: its lock is another's", times, 1, "58.9 s")

    async def killed(self, process: Process) -> None:
        times = []
        for _ in range(self._rounds):
            process.send(signal.SIGKILL)
            process.wait()
            begin = time.perf_counter()
            process.start()
            await eventually(getattr(self._probes, process.name), process.name)
            await eventually(self._probes.tabled, "S3")
            times.append(time.perf_counter() - begin)
        show(f"{process.name} killed and started: serves, and S3 does", times, 1.5, "60 s")

    async def stand_by_takes_over(self) -> None:
        """The master is killed; a client of the other member has its answer."""
        stack, times = self._stack, []
        for _ in range(self._rounds):
            stack.standby.start()
            await eventually(self._probes.standby, "the stand-by")
            begin = time.perf_counter()
            stack.tabled.send(signal.SIGKILL)
            stack.tabled.wait()  # so that the answer cannot be its last one
            await eventually(self._probes.standby, "the stand-by")
            times.append(time.perf_counter() - begin)
            stack.standby.send(signal.SIGTERM)
            stack.standby.wait()
            stack.tabled.start()
            await eventually(self._probes.tabled, "S3")
        show("tabled killed: its stand-by serves", times, 3, "up to 110 s")

    async def sessions_resume(self) -> None:
        times = []
        session = await Session.connect(HOST, self._stack.cld_port, user="tabled", secret=b"tabled")
        handle = await session.open("/resumed", LOCK)
        for _ in range(self._rounds):
            await session.lock(handle)
            self._stack.cld.send(signal.SIGKILL)
            self._stack.cld.wait()
            begin = time.perf_counter()
            self._stack.cld.start()
            await session.unlock(handle)
            times.append(time.perf_counter() - begin)
        await session.end()
        show("cld killed and started: a session gives its lock back", times, 2, "125 s")

    async def everything(self, number: signal.Signals, what: str, allowed: float, original: str) -> None:
        times, stops = [], []
        for _ in range(self._rounds):
            begin = time.perf_counter()
            self._stack.end(number)
            stopped = time.perf_counter()
            stops.append(stopped - begin)
            self._stack.start()
            await self._all_serve()
            # A clean stop is part of its figure; a kill is the fault.
            times.append(time.perf_counter() - (begin if number == signal.SIGTERM else stopped))
        show(what, times, allowed, original)
        if number == signal.SIGTERM:
            show("  of which the stop", stops, None, "")

    async def run(self) -> None:
        self._stack.start()
        await self._all_serve()
        await self.ready()
        await self.killed_client()
        await self.killed(self._stack.chunkd)
        await self.killed(self._stack.tabled)
        await self.stand_by_takes_over()
        await self.sessions_resume()
        await self.everything(signal.SIGKILL, "all killed and started: all serve", 3, "60.6 s")
        await self.everything(signal.SIGTERM, "all stopped cleanly and started: all serve", 2, "30 to 70 s")


async def measure(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="recovery-") as name:
        stack = Stack(Path(name))
        try:
            await Faults(stack, rounds).run()
        finally:
            stack.end(signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    # These hold for what is started from here, too: as in an image, where all is compiled already.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
