"""Accidents of the engine and of its host, on a nested engine, which may be killed. Rows of the table of faults."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import botocore.client
import botocore.exceptions
import docker
import pytest

from support import namespace
from support.acknowledged import Acknowledged
from support.enginestack import Answer, Stack
from support.faulttable import ENGINE, FULL, FaultTable, Measured, code, stopwatch, told
from support.nestedengine import NestedEngine

pytestmark = [pytest.mark.timeout(600), pytest.mark.second_engine]

GONE = 20.0
"""Seconds for which the engine is away."""

MOMENTS = range(1, 30, 2) if FULL else (7,)
"""Of `up` from nothing, by the number of events on the engine: volumes, a network, containers made and started."""


@pytest.fixture(scope="module")
def shared(nested: NestedEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on the nested engine, whose network this thread is in until the last test of the module is over."""
    with nested.entered():
        stack = Stack(f"test-engine-{os.getpid()}", tmp_path_factory.mktemp("engine"))
        yield stack
        repaired(nested)
        stack.run("destroy")
        assert stack.labelled() == []
        stack.client.close()


def repaired(nested: NestedEngine) -> None:
    """Undo what a test that failed has left."""
    nested.empty()
    if not nested.answers():
        nested.start()


@pytest.fixture
def there(nested: NestedEngine, shared: Stack) -> Stack:
    """A stack of its own that works, with a driver for it."""
    repaired(nested)
    shared.run("up")
    return shared


def begun(stack: Stack, *words: str) -> subprocess.Popen[str]:
    """A command that runs beside the test."""
    return subprocess.Popen(
        stack.command(*words, "--json"),
        cwd=stack.home,
        env=stack.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> Answer:
    """How it ended: with a document on standard output, and never with a traceback."""
    output, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    document = json.loads(output)
    assert document["exit_code"] == process.returncode
    return Answer(process.returncode, document["data"], document["errors"])


class Events:
    """Counts what happens on an engine; `reached(n)` waits until that many things have."""

    def __init__(self, engine: NestedEngine) -> None:
        self._client = docker.DockerClient(engine.address)
        self._stream = self._client.events(decode=True)
        self._count = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for _ in self._stream:
            with self._changed:
                self._count += 1
                self._changed.notify_all()

    def reached(self, number: int, process: subprocess.Popen[str]) -> bool:
        """Whether it came so far before the process ended."""
        with self._changed:
            while self._count < number:
                if process.poll() is not None:
                    return False
                self._changed.wait(0.02)
        return True


def acknowledged(stack: Stack) -> Acknowledged:
    objects = Acknowledged()
    objects.put(stack.s3())
    return objects


def started(stack: Stack) -> dict[str, str]:
    """When each container was started the last time."""
    names = ("cld-1", "chunkd-1", "tabled-1", "iwhd-1")
    return {name: stack.container(name).attrs["State"]["StartedAt"] for name in names}


def last_words(stack: Stack, replicas: list[str]) -> str:
    """Their states and last lines, for a failure's message."""
    containers = [stack.container(name) for name in replicas]
    return "\n".join(f"{c.name} {c.attrs['State']}\n{c.logs(tail=25).decode()}" for c in containers)


def up_again(stack: Stack) -> float:
    """Run `up`, which has to succeed, and after which everything goes on working; its seconds."""
    with stopwatch() as passed:
        stack.run("up")
    before = started(stack)
    stack.run("wait")
    again = [name for name, when in started(stack).items() if when != before[name]]
    assert not again, f"the engine has started something again after `up`: {last_words(stack, again)}"
    return passed[0]


def test_engine_restarted(nested: NestedEngine, there: Stack, fault_table: FaultTable) -> None:
    objects = acknowledged(there)
    nested.end(signal.SIGTERM)
    with stopwatch() as noticed:
        answer = there.run("status", ok=False)
    assert (answer.status, told(answer)) == (3, "engine-unreachable")
    nested.start()
    healed = up_again(there)
    data = objects.expect_all(there)
    fault_table.add(ENGINE, Measured("engine restarted", code("engine-unreachable"), noticed[0], healed, "", data))


@pytest.mark.timeout(1800 if FULL else 300)
def test_engine_killed_in_the_middle_of_up(nested: NestedEngine, there: Stack, fault_table: FaultTable) -> None:
    objects = acknowledged(there)
    said, slowest, killed = set(), 0.0, 0
    for moment in MOMENTS:
        # At every other moment the containers are there, and `up` has to start them again.
        there.run("down")
        events = Events(nested)
        process = begun(there, "up")
        if not events.reached(moment, process):
            assert ended(process).status == 0
            break
        nested.end(signal.SIGKILL)
        answer = ended(process)
        if answer.status != 0:
            assert answer.status in (3, 6)
            said.add(told(answer))
        killed += 1
        nested.start()
        slowest = max(slowest, up_again(there))
        assert objects.missing(there) == [], f"killed at event {moment}"
    assert said <= {"engine-unreachable", "compose-failed"}
    assert killed
    fault_table.add(
        ENGINE,
        Measured(
            "engine killed in the middle of `up` (the slowest of several moments)",
            ", ".join(code(name) for name in sorted(said)),
            None,
            slowest,
            "",
            f"{objects.expect_all(there)}, each of {killed} times",
        ),
    )


REPLICAS = ("cld-1", "chunkd-1", "tabled-1", "iwhd-1")


def test_a_process_that_a_killed_engine_has_lost_track_of(
    nested: NestedEngine, there: Stack, fault_table: FaultTable
) -> None:
    """It believes to have never started the container, or to have none: the process has the data all the same."""
    objects = acknowledged(there)
    lost = [("chunkd-1",), REPLICAS] if not FULL else [*((replica,) for replica in REPLICAS), REPLICAS]
    slowest = 0.0
    for forget in (False, True):
        for replicas in lost:
            ids = [str(there.container(replica).id) for replica in replicas]
            nested.end(signal.SIGKILL)
            for container in ids:
                nested.misremember(container, forget=forget)
            nested.start()
            assert all(list(namespace.of_container(container)) for container in ids)
            slowest = max(slowest, up_again(there))
            assert not any(list(namespace.of_container(container)) for container in ids)
            assert objects.missing(there) == [], f"{replicas} forgotten: {forget}"
    fault_table.add(
        ENGINE,
        Measured(
            "a killed engine has lost track of processes that have the data (the slowest of several cases)",
            "not asked: `up` was run at once",
            None,
            slowest,
            "",
            objects.expect_all(there),
        ),
    )


VERBS = (("up",), ("status",), ("wait", "--timeout", "30"), ("down",))


def interrupted(nested: NestedEngine, stack: Stack, words: tuple[str, ...]) -> Answer:
    """The end of a command in the middle of which the engine went."""
    if words[0] in ("up", "wait"):
        stack.run("down")
    events = Events(nested)
    process = begun(stack, *words)
    if words[0] == "wait":
        # It looks again and again; nothing happens on the engine meanwhile.
        assert process.poll() is None
        time.sleep(1.5)
    elif words[0] != "status":
        events.reached(3, process)
    nested.end(signal.SIGKILL)
    return ended(process)


@pytest.mark.parametrize("words", VERBS if FULL else VERBS[:1], ids=lambda words: words[0])
def test_engine_gone_for_20_seconds(
    nested: NestedEngine, there: Stack, fault_table: FaultTable, words: tuple[str, ...]
) -> None:
    objects = acknowledged(there)
    answer = interrupted(nested, there, words)
    gone = time.monotonic()
    if words[0] != "status":
        assert (answer.status, told(answer)) == (3, "engine-unreachable")
    asked = 0
    with stopwatch() as noticed:
        assert told(there.run(*words, ok=False)) == "engine-unreachable"
    while time.monotonic() - gone < GONE:
        for verb in VERBS:
            refused = there.run(*verb, ok=False)
            assert (refused.status, told(refused)) == (3, "engine-unreachable")
            asked += 1
        if not FULL:
            break
    nested.start()
    healed = up_again(there)
    assert asked
    data = objects.expect_all(there)
    title = f"engine gone for {GONE:.0f} s, from the middle of `{words[0]}`"
    fault_table.add(ENGINE, Measured(title, code("engine-unreachable"), noticed[0], healed, "", data))


def put_until_refused(objects: Acknowledged, client: botocore.client.BaseClient) -> None:
    """Store objects until one is refused; a hundred are more than a full disk can take."""
    for _ in range(100):
        try:
            objects.put(client, 300_000)
        except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
            return
    pytest.fail("a disk without a free block took a hundred objects")


def test_disk_of_the_host_full(nested: NestedEngine, there: Stack, fault_table: FaultTable) -> None:
    objects = acknowledged(there)
    client = there.s3(attempts=1)
    nested.fill()
    put_until_refused(objects, client)
    with stopwatch() as noticed:
        status = there.run("status", ok=False)
    assert status.status != 0
    why, doctor = there.run("status", "--why", ok=False), there.run("doctor", ok=False)
    assert told(why) in ("volume-full", "disk-full")
    assert (doctor.status, told(doctor)) == (3, "disk-full")
    refused = there.run("up", ok=False)
    assert told(refused) in ("volume-full", "disk-full")

    if FULL:
        there.run("down")
        assert told(there.run("up", ok=False)) in ("volume-full", "disk-full")

    nested.empty()
    healed = up_again(there)
    data = objects.expect_all(there)
    objects.put(there.s3())
    said = f"{code(told(why))}, `doctor` and `up`: " + ", ".join(
        code(name) for name in dict.fromkeys((told(doctor), told(refused)))
    )
    more = "space on the disk"
    fault_table.add(ENGINE, Measured("the host's disk full", said, noticed[0], healed, more, data))


def test_a_new_stack_on_a_full_disk(nested: NestedEngine, there: Stack) -> None:
    there.run("destroy")
    nested.fill()
    answer = there.run("up", ok=False)
    assert (answer.status, told(answer)) == (3, "disk-full")
    nested.empty()
    up_again(there)
