"""Faults, inflicted on a running stack from outside, the way accidents do. Needs root on the engine's host."""

import os
import signal
import subprocess
from pathlib import Path

from support.enginestack import Stack

DATA = {"cld": "/var/lib/cld", "chunkd": "/var/lib/chunkd", "tabled": "/var/lib/tabled", "iwhd": "/var/lib/iwhd"}


def pid(stack: Stack, replica: str) -> int:
    """The daemon's process on this host."""
    return int(stack.container(replica).attrs["State"]["Pid"])


def volume(stack: Stack, name: str) -> Path:
    """Where the engine keeps a volume of the stack."""
    return Path(stack.client.volumes.get(f"hailbox-{stack.name}-{name}").attrs["Mountpoint"])


def crash(stack: Stack, replica: str) -> None:
    """SIGKILL from the host: to the engine a crash that nobody asked for."""
    os.kill(pid(stack, replica), signal.SIGKILL)


def freeze(stack: Stack, replica: str) -> None:
    """SIGSTOP: it runs, holds its connections, and does nothing."""
    os.kill(pid(stack, replica), signal.SIGSTOP)


def out_of_memory(stack: Stack, replica: str) -> None:
    """Use the container's memory up; the kernel kills the daemon, which it is told to prefer."""
    Path(f"/proc/{pid(stack, replica)}/oom_score_adj").write_text("1000")
    hog = "import time; b = [bytearray(8 << 20) for _ in range(100)]; time.sleep(1)"
    stack.container(replica).exec_run(["python3", "-c", hog])


def read_only(stack: Stack, replica: str) -> None:
    """The data volume becomes read-only under the running daemon, but for files that it has open already."""
    place = DATA[replica.split("-")[0]]
    inside = ["nsenter", "-t", str(pid(stack, replica)), "-m", "mount", "-o"]
    for arguments in (["bind", place, place], ["remount,bind,ro", place]):
        subprocess.run([*inside, *arguments], check=True, capture_output=True)


def remove_container(stack: Stack, replica: str) -> None:
    """`docker rm -f`."""
    stack.container(replica).remove(force=True)


def remove_volume(stack: Stack, replica: str) -> None:
    """The container and its data are gone."""
    remove_container(stack, replica)
    stack.client.volumes.get(f"hailbox-{stack.name}-{replica}").remove(force=True)


def remove_network(stack: Stack, _replica: str) -> None:
    """The network is gone under the running containers."""
    network = stack.client.networks.get(f"hailbox-{stack.name}")
    network.reload()
    for container in network.containers:
        network.disconnect(container, force=True)
    network.remove()


def corrupt_metadata(stack: Stack, replica: str) -> None:
    """Every database file becomes noise, and the daemon crashes."""
    files = [
        path
        for path in volume(stack, replica).rglob("*")
        if path.is_file() and path.read_bytes()[:16].startswith(b"SQLite format 3")
    ]
    assert files, f"{replica} keeps no SQLite database"
    for path in files:
        path.write_bytes(os.urandom(path.stat().st_size))
        for beside in path.parent.glob(f"{path.name}-*"):
            beside.unlink()
    crash(stack, replica)


def corrupt_bodies(stack: Stack, replica: str) -> None:
    """One byte in the middle of each large body file is flipped."""
    bodies = [path for path in volume(stack, replica).rglob("*") if path.is_file() and path.stat().st_size > 100_000]
    assert bodies
    for path in bodies:
        with path.open("r+b") as stream:
            stream.seek(path.stat().st_size // 2)
            byte = stream.read(1)
            stream.seek(-1, os.SEEK_CUR)
            stream.write(bytes([byte[0] ^ 0xFF]))


def lose_credentials(stack: Stack, _replica: str) -> None:
    """The credentials and configuration files are gone."""
    for path in sorted(volume(stack, "credentials").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def wrong_credentials(stack: Stack, replica: str) -> None:
    """The users' file of a daemon holds another secret, and the daemon has read it."""
    for path in volume(stack, "credentials").rglob("*.users"):
        if path.parent.name.startswith(replica):
            user = path.read_text().split("\t")[0]
            path.write_text(f"{user}\twrong\n")
    crash(stack, replica)
