"""The program that restores a snapshot: what is there afterwards, also when an earlier run was cut short."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tenacity

from hailbox.helper.programs import restore as agent


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A snapshot of two replicas."""
    made = tmp_path / "from"
    for replica in ("cld-1", "chunkd-1"):
        (made / replica / "sub").mkdir(parents=True)
        (made / replica / "sub" / ".hidden").write_text(replica)
        (made / replica / "file").write_bytes(b"x" * 100_000)
        (made / replica).chmod(0o750)
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Volumes with other data."""
    made = tmp_path / "to"
    for replica in ("cld-1", "chunkd-1"):
        (made / replica / "newer").mkdir(parents=True)
        (made / replica / "file").write_text("newer")
    return made


def paths(folder: Path, leaving_out: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(leaving_out):
            yield path
            if path.is_dir():
                yield from paths(path, leaving_out)


def tree(folder: Path, leaving_out: tuple[str, ...] = ()) -> dict[str, tuple[int, int, bytes]]:
    """All that is in a folder, but for what has a name that begins with one of `leaving_out`."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in paths(folder, leaving_out)
    }


def services_are_dead() -> bool:
    return True


def nothing() -> None:
    """No driver asks when all is in its place."""


def test_everything_else_is_gone(source: Path, target: Path) -> None:
    assert agent.replace(str(source), str(target), services_are_dead, nothing) == 0
    assert tree(target) == tree(source)


def test_nothing_is_touched_before_the_services_are_dead(source: Path, target: Path) -> None:
    before = tree(target)

    def look() -> bool:
        seen.update(tree(target))
        return True

    seen: dict[str, tuple[int, int, bytes]] = {}
    assert agent.replace(str(source), str(target), look, nothing) == 0
    assert before.items() <= seen.items()
    assert tree(target) == tree(source)


def test_tells_when_all_is_in_its_place(source: Path, target: Path) -> None:
    told: list[dict[str, tuple[int, int, bytes]]] = []

    def look() -> None:
        # What is being removed meanwhile cannot be looked at.
        told.append(tree(target, (".discarded-",)))

    assert agent.replace(str(source), str(target), services_are_dead, look) == 0
    assert told == [tree(source)]


def test_without_the_signal_nothing_is_replaced(source: Path, target: Path) -> None:
    before = tree(target)
    assert agent.replace(str(source), str(target), lambda: False, nothing) == 75
    assert before.items() <= tree(target).items()
    assert agent.replace(str(source), str(target), services_are_dead, nothing) == 0
    assert tree(target) == tree(source)


@pytest.mark.parametrize("moment", ["copying", "putting aside", "discarding", "moving"])
def test_begun_anew_after_it_was_cut_short(source: Path, target: Path, moment: str) -> None:
    """Cut short twice."""
    for _ in range(2):
        for replica in ("cld-1", "chunkd-1"):
            volume = agent.Volume(str(source / replica), str(target / replica))
            volume.begin()
            assert volume.copying is not None
            volume.copying.wait()
            if moment != "copying":
                volume.put_aside()
            if moment in ("discarding", "moving"):
                volume.removed()
            if moment == "moving":
                entry = next(Path(volume.copy).iterdir())
                entry.rename(target / replica / entry.name)
    assert agent.replace(str(source), str(target), services_are_dead, nothing) == 0
    assert tree(target) == tree(source)


def test_the_program_ends_only_on_its_second_signal(source: Path, target: Path) -> None:
    load = "from hailbox.helper.programs import restore as agent"
    program = f"{load}; agent.FROM, agent.TO = {str(source)!r}, {str(target)!r}"
    command = [sys.executable, "-c", f"{program}; raise SystemExit(agent.main([]))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGUSR1)
        assert running.stdout.readline() == "restored\n"
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_result(bool), wait=tenacity.wait_fixed(0.01), stop=tenacity.stop_after_delay(30)
        )
        attempts(lambda: list(target.glob("*/.discarded-*")))
        assert tree(target) == tree(source)
        assert running.poll() is None
        running.send_signal(signal.SIGUSR1)
        assert running.wait(30) == 0


def test_a_copy_that_fails_is_told(source: Path, target: Path) -> None:
    broken = source / "tabled-1"
    broken.symlink_to(source / "nowhere")
    (target / "tabled-1").mkdir()
    assert agent.replace(str(source), str(target), services_are_dead, nothing) != 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a small disk")
def test_old_content_that_takes_the_space_of_the_copy_makes_room_for_it(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "small"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(target)], check=True)
    try:
        for replica in ("cld-1", "chunkd-1"):
            (target / replica).mkdir()
            (target / replica / "old").write_bytes(bytes(450_000))
        assert agent.replace(str(source), str(target), services_are_dead, nothing) == 0
        assert tree(target) == tree(source)
    finally:
        subprocess.run(["umount", str(target)], check=True)
