"""One command at a time on a stack: real processes, which share the part of an engine that locks are made of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hailbox import processes
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.model import names
from hailbox.model.errors import BusyError
from hailbox.stack import lock
from hailbox.stack.holder import Holder, Life, life, ourselves, parse
from support.fakestack import MakeContext
from support.markers import DirectoryMarkers

HOLDER = """
import subprocess, sys
from pathlib import Path
from hailbox.stack import lock
from support.markers import DirectoryMarkers
with lock.held(DirectoryMarkers(Path(sys.argv[2])), "x", "hailbox up", tell=print):
    if sys.argv[1] == "child":
        # As Compose is started: what it inherits stays open, and it ends with its standard input.
        subprocess.Popen(["cat"], stdout=subprocess.DEVNULL, close_fds=False)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def markers(tmp_path: Path) -> DirectoryMarkers:
    return DirectoryMarkers(tmp_path)


@contextmanager
def holder(markers: DirectoryMarkers, kind: str = "alone", **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of stack x until its standard input is closed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **variables}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind, str(markers.place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def take(markers: DirectoryMarkers, stack: str = "x", deadline: float = 20.0) -> list[str]:
    """Take and leave the lock; returns what was told of waiting."""
    told: list[str] = []
    with lock.held(markers, stack, "hailbox status", tell=told.append, deadline=deadline):
        assert not lock.is_free(markers, stack)
    return told


def test_nothing_is_in_the_way_and_nothing_is_left(markers: DirectoryMarkers) -> None:
    assert take(markers) == []
    assert take(markers) == []
    assert list(markers.place.iterdir()) == []
    assert lock.is_free(markers, "x")


def test_the_second_says_who_works_and_waits_for_its_end(markers: DirectoryMarkers) -> None:
    with holder(markers) as process:
        assert process.stdin is not None
        waited: list[str] = []
        done = threading.Event()

        def told(who: str) -> None:
            waited.append(who)
            done.set()

        def wait() -> None:
            with lock.held(markers, "x", "hailbox down", tell=told, deadline=20):
                waited.append("mine")

        thread = threading.Thread(target=wait)
        thread.start()
        assert done.wait(20)
        said = f"`hailbox up` (pid {process.pid}) works on this stack; waiting for it to end"
        assert waited == [said]
        process.stdin.close()
        thread.join(20)
        assert waited == [said, "mine"]


def test_another_stack_is_not_in_the_way(markers: DirectoryMarkers) -> None:
    with holder(markers):
        assert take(markers, "y") == []


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "HOME", "TMPDIR", "USER"])
def test_no_variable_of_the_shell_makes_another_lock(
    markers: DirectoryMarkers, tmp_path: Path, variable: str
) -> None:
    with holder(markers, **{variable: str(tmp_path)}), pytest.raises(BusyError):
        take(markers, deadline=0.1)


def test_gives_up_after_the_deadline_and_names_the_holder(markers: DirectoryMarkers) -> None:
    with holder(markers) as process:
        with pytest.raises(BusyError) as caught:
            take(markers, deadline=0.1)
        assert f"`hailbox up` (pid {process.pid})" in caught.value.problem
        assert "stack x" in caught.value.problem
        assert "docker rm hailbox-x.lock" in caught.value.remedy


def test_dies_with_its_holder(markers: DirectoryMarkers) -> None:
    with holder(markers) as process:
        assert not lock.is_free(markers, "x")
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended; we have not waited for it
        assert take(markers, deadline=5) == []


def test_lives_as_long_as_a_process_that_the_holder_started(markers: DirectoryMarkers) -> None:
    with holder(markers, "child") as process:
        assert process.stdin is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not lock.is_free(markers, "x")
        with pytest.raises(BusyError):
            take(markers, deadline=0.2)
        process.stdin.close()  # its end, too: both read from the same pipe
        take(markers, deadline=20)


def test_is_left_when_the_command_fails(markers: DirectoryMarkers) -> None:
    def fail() -> None:
        with lock.held(markers, "x", "hailbox up", tell=print):
            raise RuntimeError("failed")

    with pytest.raises(RuntimeError):
        fail()
    assert take(markers, deadline=0.1) == []


def elsewhere(**changes: object) -> Holder:
    return replace(ourselves("hailbox up", "0123"), **changes)  # type: ignore[arg-type]


def test_who_is_dead_and_who_cannot_be_judged() -> None:
    assert life(elsewhere()) is Life.ALIVE
    assert life(elsewhere(pid=2**22 + 1)) is Life.DEAD
    assert life(elsewhere(start="1")) is Life.DEAD  # the number has been given away again
    assert life(elsewhere(boot="another")) is Life.DEAD
    assert life(elsewhere(machine="another")) is Life.UNKNOWN
    assert life(elsewhere(space="pid:[1]")) is Life.UNKNOWN
    us = elsewhere()
    assert parse(us.text()) == us


@pytest.mark.parametrize("text", [None, "", "x", "[]", "{}", '{"pid": 1}'])
def test_what_is_no_holder(text: str | None) -> None:
    assert parse(text) is None


def test_a_name_that_something_else_took_is_waited_for_and_told(markers: DirectoryMarkers) -> None:
    markers.create_marker(names.lock("x"), {})
    with pytest.raises(BusyError, match="another command") as caught:
        take(markers, deadline=0.1)
    assert "docker rm hailbox-x.lock" in caught.value.remedy


def test_another_machine_is_named_and_its_silence_frees_the_lock(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    them = elsewhere(machine="another", name="build7", user="eve", pid=77)
    labels = {names.LOCK: "x", names.LOCK_HOLDER: them.text()}
    taken = fake.create_marker(names.lock("x"), labels)
    assert taken is not None
    told: list[str] = []
    with (
        pytest.raises(BusyError, match=r"`hailbox up` \(pid 77 of eve on build7\)"),
        lock.held(fake, "x", "hailbox down", tell=told.append, deadline=0.2),
    ):
        pass
    monkeypatch.setattr(lock, "SILENCE", 0.4)
    stop = threading.Event()

    def live() -> None:
        beats = 0
        while not stop.wait(0.05):
            beats += 1
            fake.beat_marker(taken, beats)

    living = threading.Thread(target=live)
    living.start()
    with pytest.raises(BusyError), lock.held(fake, "x", "hailbox down", tell=told.append, deadline=1.0):
        pass
    stop.set()
    living.join()
    with lock.held(fake, "x", "hailbox down", tell=told.append, deadline=20):
        pass
    assert fake.markers == {}


def test_a_holder_says_that_it_lives(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    beating = threading.Event()
    beat = fake.beat_marker
    monkeypatch.setattr(fake, "beat_marker", lambda marker, beats: (beat(marker, beats), beating.set()))
    with lock.held(fake, "x", "hailbox up", tell=print):
        assert beating.wait(20)


def test_a_command_with_nothing_to_do_takes_no_lock(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    monkeypatch.setattr(fake, "create_marker", lambda name, labels: pytest.fail("it took the lock"))
    assert up(make_context()).changed == ()


def test_but_it_waits_for_one_that_works(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    told: list[str] = []
    them = elsewhere(machine="another")
    fake.create_marker(names.lock("test"), {names.LOCK_HOLDER: them.text()})
    context = replace(make_context(), report=lambda step: told.append(step.detail))

    def end() -> None:
        while not told:
            """Until it waits."""
        fake.remove_marker(fake.markers[names.lock("test")].id)

    ending = threading.Thread(target=end)
    ending.start()
    assert up(context).working
    ending.join()
    assert "works on this stack" in told[0]


def test_a_process_is_known_by_when_it_began() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert processes.began(child.pid) == processes.began(child.pid) != processes.began(os.getpid())
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert processes.began(child.pid) is None
    finally:
        child.kill()
        child.wait()
    assert processes.began(child.pid) is None
