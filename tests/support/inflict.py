"""Faults, inflicted on a running stack from outside, the way accidents do. Needs root on the engine's host."""

import json
import os
import signal
import subprocess
from pathlib import Path

from support import namespace
from support.enginestack import Stack

DATA = {"cld": "/var/lib/cld", "chunkd": "/var/lib/chunkd", "tabled": "/var/lib/tabled", "iwhd": "/var/lib/iwhd"}


def pid(stack: Stack, replica: str) -> int:
    """The daemon's process on this host, wherever the engine is in it."""
    return namespace.first_process(str(stack.container(replica).id))


def as_engine(*words: str | Path, ok: bool = True) -> None:
    """Run a program where the engine sees its mounts: on this host, or in the container of a nested engine."""
    nested = os.environ.get(namespace.ENGINE_PROCESS)
    # With its processes, too: umount looks into /proc/self, and finds nothing in the /proc of another namespace.
    within = ["nsenter", "-t", nested, "-m", "-p", "-n"] if nested else []
    subprocess.run([*within, *map(str, words)], check=ok, capture_output=True)


def volume(stack: Stack, name: str) -> Path:
    """Where the engine keeps a volume of the stack."""
    return Path(stack.client.volumes.get(f"hailbox-{stack.name}-{name}").attrs["Mountpoint"])


def crash(stack: Stack, replica: str) -> None:
    """SIGKILL from the host: to the engine an unplanned crash."""
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
    """The data volume is read-only from the daemon's next start on, which comes at once, until `writable`."""
    place = volume(stack, replica)
    stack.container(replica).stop(timeout=2)
    as_engine("mount", "--bind", place, place)
    as_engine("mount", "-o", "remount,bind,ro", place)
    stack.container(replica).start()


def writable(stack: Stack, replica: str) -> None:
    """Undo `read_only`; the daemon has it from its next start on."""
    as_engine("umount", "--lazy", volume(stack, replica))


SLACK = 4 << 20
"""Bytes that a volume has beyond its contents when it is moved to a small disk."""


def full(stack: Stack, replica: str) -> None:
    """The daemon starts with its data on a disk of its own, with the same content, and not a block of it free."""
    place = volume(stack, replica)
    small, container = place.parent / "small", stack.container(replica)
    size = sum(path.lstat().st_blocks * 512 for path in place.rglob("*")) + SLACK
    container.stop(timeout=2)
    as_engine("mkdir", small)
    as_engine("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small)
    as_engine("cp", "--archive", f"{place}/.", small)
    as_engine("mount", "--bind", small, place)
    as_engine("dd", "if=/dev/zero", f"of={place}/filler", "bs=4k", ok=False)
    container.start()


def make_room(stack: Stack, replica: str) -> None:
    """Free blocks on the disk that `full` has filled."""
    as_engine("rm", volume(stack, replica) / "filler")


def move_back(stack: Stack, replica: str) -> None:
    """Have the volume where it was before `full`, with the content that it has now."""
    place = volume(stack, replica)
    stack.container(replica).stop(timeout=2)
    as_engine("umount", "--lazy", place)
    as_engine("sh", "-c", f"rm -rf {place}/* && cp --archive {place.parent}/small/. {place}")
    as_engine("umount", "--lazy", place.parent / "small")
    as_engine("rmdir", place.parent / "small")
    stack.container(replica).start()


def suddenly_read_only(stack: Stack, replica: str) -> None:
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
    """A daemon's file of secrets holds other ones, and the daemon has read it."""
    (folder,) = volume(stack, "credentials").glob(f"{replica}-*")
    changed = 0
    for path in folder.glob("*.users"):
        users = [line.split("\t")[0] for line in path.read_text().splitlines()]
        path.write_text("".join(f"{user}\twrong\n" for user in users))
        changed += 1
    for path in folder.glob("iwhd.json"):
        providers = json.loads(path.read_text())
        path.write_text(json.dumps([provider | {"secret": "wrong"} for provider in providers]))
        changed += 1
    assert changed
    crash(stack, replica)
