"""Which process is a stray, and its end: real processes, shown to the program in a /proc of the test's."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hailbox.helper.programs import lostprocesses as strayagent

RUNNING, FORGOTTEN, OUTER, KNOWN = "a" * 64, "b" * 64, "c" * 64, "d" * 64
VOLUME = "/docker/volumes/hailbox-test-chunkd-1/_data"


class Proc:
    """A /proc with the program's own process in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.children: list[subprocess.Popen[bytes]] = []
        self.add("self", "", [(VOLUME, "/volumes/hailbox-test-chunkd-1")], space="host")

    def add(
        self, name: str, cgroup: str, mounts: list[tuple[str, str]], *, device: str = "254:0", space: str
    ) -> None:
        folder = self.root / name
        (folder / "ns").mkdir(parents=True)
        (folder / "ns" / "pid").symlink_to(f"pid:[{space}]")
        (folder / "cgroup").write_text(f"0::{cgroup}\n")
        lines = [
            f"9{number} 75 {device} {root} {place} rw - ext4 /dev/vda rw\n"
            for number, (root, place) in enumerate(mounts)
        ]
        (folder / "mountinfo").write_text("30 1 0:26 / / rw - overlay overlay rw\n" + "".join(lines))
        (folder / "cmdline").write_bytes(b"python3\0-m\0haild.chunkd\0")
        self.says(name, "python3 (:)", 500)

    def says(self, name: str, program: str, began: int) -> None:
        """Let that process be called so, and have begun at that tick."""
        (self.root / name).mkdir(exist_ok=True)
        (self.root / name / "comm").write_text(f"{program}\n")
        (self.root / name / "stat").write_text(f"7 ({program}) S 1{' 0' * 17} {began} 0 0\n")

    def process(
        self, cgroup: str, root: str = VOLUME, *, device: str = "254:0", space: str = "own", engine: str = "/docker"
    ) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(["sleep", "60"])
        self.children.append(child)
        identifier = re.findall(r"[0-9a-f]{64}", cgroup)[-1:]
        started = [(f"{engine}/containers/{known}/hostname", "/etc/hostname") for known in identifier]
        mounted = [(root, "/var/lib/chunkd"), *(started if engine else ())]
        self.add(str(child.pid), cgroup, mounted, device=device, space=space)
        return child


@pytest.fixture
def proc(tmp_path: Path) -> Iterator[Proc]:
    made = Proc(tmp_path)
    yield made
    for child in made.children:
        child.kill()
        child.wait()


@pytest.mark.parametrize("cgroup", [f"/docker/{FORGOTTEN}", f"/../docker-{FORGOTTEN}.scope", f"/{OUTER}/{FORGOTTEN}"])
def test_a_process_of_no_running_container_is_ended(proc: Proc, cgroup: str) -> None:
    child = proc.process(cgroup)
    assert strayagent.end(proc.root, [RUNNING], [KNOWN]) == [
        {
            "pid": child.pid,
            "container": FORGOTTEN,
            "volume": "hailbox-test-chunkd-1",
            "says": "python3 -m haild.chunkd",
            "ended": True,
        }
    ]
    assert child.wait() == -9


def test_others_are_left_alone(proc: Proc) -> None:
    others = [
        proc.process(f"/docker/{RUNNING}"),
        proc.process(f"/docker/{RUNNING}/docker/{FORGOTTEN}"),  # in a container in a running container
        proc.process("/user.slice"),  # in none
        proc.process(f"/docker/{FORGOTTEN}", "/docker/volumes/another/_data"),
        proc.process(f"/docker/{FORGOTTEN}", f"{VOLUME}//deleted"),
        proc.process(f"/docker/{FORGOTTEN}", device="7:0"),
        proc.process(f"/docker/{OUTER}", space="host"),  # such as an engine in a container
    ]
    assert strayagent.end(proc.root, [RUNNING], [KNOWN]) == []
    assert [child.poll() for child in others] == [None] * len(others)


@pytest.mark.parametrize(("engines", "ended"), [([501], True), ([500], False), ([400, 600], False), ([], False)])
def test_of_a_known_container_only_what_is_older_than_the_engine_is_ended(
    proc: Proc, engines: list[int], ended: bool
) -> None:
    """A younger one may be on its way up, by a request of a command that was killed."""
    child = proc.process(f"/docker/{KNOWN}")
    for number, engine in enumerate(engines):
        proc.says(str(4_000_000_000 + number), "dockerd", engine)
    assert [stray["pid"] for stray in strayagent.end(proc.root, [RUNNING], [KNOWN])] == [child.pid] * ended
    assert (child.poll() is None) is not ended


def test_a_process_that_has_gone_meanwhile_is_no_error(proc: Proc) -> None:
    child = proc.process(f"/docker/{FORGOTTEN}")
    child.kill()
    child.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)
    assert strayagent.end(proc.root, [], []) == []


@pytest.mark.parametrize("engine", ["", "/podman", f"/docker/volumes/x/_data/containers/{OUTER}"])
def test_a_process_that_another_engine_started_is_spared(proc: Proc, engine: str) -> None:
    """It may be a backup, in a container of podman or nerdctl, with our volume mounted by its path."""
    child = proc.process(f"/libpod-{FORGOTTEN}", engine=engine)
    assert strayagent.end(proc.root, [RUNNING], [KNOWN]) == []
    assert child.poll() is None


def test_a_container_that_was_removed_is_known_by_what_its_process_keeps(proc: Proc) -> None:
    child = proc.process(f"/docker/{FORGOTTEN}", engine="")
    path = proc.root / str(child.pid) / "mountinfo"
    gone = f"/docker/containers/{FORGOTTEN}/hostname//deleted"
    path.write_text(path.read_text() + f"99 75 254:0 {gone} /etc/hostname rw - ext4 /dev/vda rw\n")
    assert [stray["pid"] for stray in strayagent.end(proc.root, [RUNNING], [KNOWN])] == [child.pid]
