"""A holder is killed: its lock is free at once, over TCP and over UDP, without a word from it."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import pytest

from haild.cld.server import Server
from haild.client.cld import OpenMode, Session

HOLDER = """
import asyncio, sys
from haild.client.cld import OpenMode, Session

async def main():
    port, transport = int(sys.argv[1]), sys.argv[2]
    session = await Session.connect("127.0.0.1", port, user="tabled", secret=b"tabled", transport=transport)
    await session.lock(await session.open("/lock", OpenMode.LOCK | OpenMode.CREATE))
    print("held", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("asks", ["lock", "waits", "try"])
async def test_lock_of_a_killed_process_is_free_within_a_second(tmp_path: Path, transport: str, asks: str) -> None:
    server = await Server.start(tmp_path, 0, None)
    arguments = ("-c", HOLDER, str(server.port), transport)
    holder = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    other = await Session.connect("127.0.0.1", server.port, user="tabled", secret=b"tabled")
    try:
        assert holder.stdout is not None
        assert await asyncio.wait_for(holder.stdout.readline(), 10) == b"held\n"
        handle = await other.open("/lock", OpenMode.LOCK)
        assert not await other.try_lock(handle)
        waiting = asyncio.ensure_future(other.lock(handle)) if asks == "waits" else None
        if waiting is not None:
            await asyncio.wait({waiting}, timeout=0.2)
            assert not waiting.done()
        holder.send_signal(signal.SIGKILL)
        await holder.wait()
        started = time.monotonic()
        if waiting is not None:
            await asyncio.wait_for(waiting, 1)
        elif asks == "lock":
            await asyncio.wait_for(other.lock(handle), 1)
        else:
            assert await other.try_lock(handle)
        assert time.monotonic() - started < 1
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.wait()
        await other.end()
        await server.close()
