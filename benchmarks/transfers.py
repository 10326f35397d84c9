"""Memory of tabled and chunkd with many large transfers at once, on loopback.

    python benchmarks/transfers.py [--transfers 64] [--upload 64] [--download 1024] [--directory DIR]

First so many PUTs at once, each of --upload MiB to a key of its own; then one object of --download MiB is read that
many times at once. All of the uploads lie on the disk at the same time: 4 GiB, or 64 GiB with --upload 1024.
Nothing is started that would leave less than 8 GiB free.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
from pathlib import Path

from _s3load import Client, transfers, wait_until_storing
from _tabledstack import Stack, peak_memory

BLOCK = 1 << 20
RESERVE = 8 << 30
"""Bytes of the disk that stay free."""
WANTED = 150
"""MiB that each daemon may use."""


def show(what: str, stack: Stack, mebibytes: int, seconds: float) -> None:
    """One line: the rate and the most that each daemon has used so far."""
    peaks = {"tabled": peak_memory(stack.server), "chunkd": peak_memory(stack.chunkds[0])}
    memory = ", ".join(f"{name} {peak} MiB" for name, peak in peaks.items())
    verdict = "yes" if max(peaks.values()) <= WANTED else "NO"
    print(
        f"{what}: {mebibytes / seconds:,.0f} MiB/s; memory at most {memory}; wanted {WANTED}: {verdict}", flush=True
    )


def run(directory: Path, options: argparse.Namespace) -> None:
    """Upload, then download."""
    stack = Stack(directory)
    try:
        client = Client(stack.port)
        wait_until_storing(client)
        client.once(client.request("PUT", "/bench"))
        block = os.urandom(BLOCK)
        print(f"at rest: tabled {peak_memory(stack.server)} MiB, chunkd {peak_memory(stack.chunkds[0])} MiB")
        count = options.transfers
        rows = [[f"/bench/upload-{row}"] for row in range(count)]
        seconds = transfers(client, "PUT", rows, options.upload << 20, block)
        show(f"{count} PUTs at once of {options.upload} MiB", stack, count * options.upload, seconds)
        for row in rows:
            client.once(client.request("DELETE", row[0]))
        transfers(client, "PUT", [["/bench/large"]], options.download << 20, block)
        seconds = transfers(client, "GET", [["/bench/large"]] * count, options.download << 20, block)
        show(f"{count} GETs at once of {options.download} MiB", stack, count * options.download, seconds)
    finally:
        stack.close()


def main() -> None:
    """Read the options, see that there is room, run."""
    parser = argparse.ArgumentParser(description="Memory of tabled and chunkd with many large transfers at once")
    parser.add_argument("--transfers", type=int, default=64)
    parser.add_argument("--upload", type=int, default=64, help="MiB of each upload")
    parser.add_argument("--download", type=int, default=1024, help="MiB of the object that is downloaded")
    parser.add_argument("--directory", type=Path, default=None, help="where the data go (default: a temporary one)")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        needed = max(options.transfers * options.upload, options.download) << 20
        free = shutil.disk_usage(directory).free
        if free < needed + RESERVE:
            raise SystemExit(f"{needed >> 30} GiB would leave less than {RESERVE >> 30} of {free >> 30} GiB free")
        run(Path(directory), options)


if __name__ == "__main__":
    main()
