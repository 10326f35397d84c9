"""Invariant 1 on the real engine: a driver killed with SIGKILL at any request, and the next command converges.

`make test` runs a sample of the moments, `make test-full` (HAILBOX_FULL=1) every one, and writes docs/crash-sweep.md.
The in-memory sweep (tests/driver/test_stack_crash_sweep.py) tries every command after every death; here they take
turns.
"""

import json
import os
import random
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import botocore.exceptions
import pytest
import requests

from hailbox.commands.env import env
from hailbox.context import Context
from hailbox.engine.docker import DockerEngine
from hailbox.model.config import Config
from hailbox.stack import definitions
from support.crashsweep import REAL, Tally, calls_of, write_page
from support.enginestack import Answer, Stack

DRIVER = Path(__file__).with_name("crashing_driver.py")
FULL = bool(os.environ.get("HAILBOX_FULL"))
STACKS = 3 if FULL else 1
"""How many stacks share the moments of a command."""

S3_OBJECT, WAREHOUSE_OBJECT, BUCKET, ATTRIBUTE = "S3 object", "object in the warehouse", "bucket", "attribute"
ALL = frozenset({S3_OBJECT, WAREHOUSE_OBJECT, BUCKET, ATTRIBUTE})
NOT_IN_CHUNKD = frozenset({BUCKET, ATTRIBUTE})
BODY = b"acknowledged"


def addresses(stack: Stack) -> dict[str, str]:
    """What `hailbox env` prints, without the start of a program."""
    return env(Context(DockerEngine(), definitions.load_catalog(), Config(stack=stack.name)))


def store(stack: Stack) -> None:
    """Put an object of each kind into the stack."""
    where = addresses(stack)
    client = stack.s3(env=where)
    client.create_bucket(Bucket="kept")
    client.put_object(Bucket="kept", Key="object", Body=BODY)
    for path, body in (("b", b""), ("b/image", BODY), ("b/image/arch", b"x86_64")):
        requests.put(f"{where['IWHD_URL']}/{path}", data=body, timeout=20).raise_for_status()


def stored(stack: Stack) -> set[str]:
    """Which of them are there; wrong content is an error, and so is a stack that does not work."""
    where = addresses(stack)
    client = stack.s3(env=where)
    found = set()
    if "kept" in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        found.add(BUCKET)
    try:
        assert client.get_object(Bucket="kept", Key="object")["Body"].read() == BODY
        found.add(S3_OBJECT)
    except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
        pass
    for name, path, body in ((WAREHOUSE_OBJECT, "image", BODY), (ATTRIBUTE, "image/arch", b"x86_64")):
        answer = requests.get(f"{where['IWHD_URL']}/b/{path}", timeout=20)
        if answer.status_code == 200:
            assert answer.content == body
            found.add(name)
    return found


def left_of_compose(stack: Stack) -> list[str]:
    """Compose processes that work on the stack, by their command lines."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if f"hailbox-{stack.name}" in words and "--project-name" in words:
            found.append(" ".join(words))
    return found


@dataclass(frozen=True)
class Following:
    """The command after a killed one: its words, what must hold then, and what it may not discard."""

    words: tuple[str, ...]
    check: Callable[[Stack, Answer], None]
    keeps: frozenset[str] = ALL
    leaves_it_up: bool = True


def works(stack: Stack, answer: Answer) -> None:
    assert all(replica["working"] for replica in answer.data["replicas"])
    stored(stack)


def is_empty(stack: Stack, answer: Answer) -> None:
    assert stored(stack) == set()


def has_no_body(stack: Stack, answer: Answer) -> None:
    assert stored(stack) <= NOT_IN_CHUNKD


def is_down(stack: Stack, answer: Answer) -> None:
    assert set(stack.containers()) <= {f"hailbox-{stack.name}-credentials"}


def is_gone(stack: Stack, answer: Answer) -> None:
    assert stack.labelled() == []


def is_the_truth(stack: Stack, answer: Answer) -> None:
    """A stack of which every service works is said to, and only such a one."""
    works_now = stack.run("status", ok=False).status == 0
    assert answer.status in ((0, 5) if works_now else (5,))


FOLLOWING = {
    "up": Following(("up",), works),
    "reset": Following(("reset",), is_empty, frozenset()),
    "down": Following(("down",), is_down, leaves_it_up=False),
    "reset chunkd": Following(("reset", "chunkd"), has_no_body, NOT_IN_CHUNKD),
    "status": Following(("status",), is_the_truth, leaves_it_up=False),
    "destroy": Following(("destroy",), is_gone, frozenset()),
}
TURNS = ("up", "reset", "down", "up", "reset chunkd", "status", "up", "destroy")


@dataclass(frozen=True)
class Command:
    """What is killed."""

    title: str
    words: tuple[str, ...]
    prepare: Callable[[Stack], frozenset[str]]
    """Brings a stack, whatever it is, to where the command begins; returns the objects that it holds then."""
    keeps: frozenset[str] = ALL
    """What it may not discard."""
    sample: int = 1
    """Moments that `make test` tries."""


@dataclass
class Sweep:
    """One command, killed at moments that several stacks share."""

    command: Command
    stacks: Sequence[Stack]
    tally: Tally = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        self.tally = Tally(REAL, self.command.title)
        first = self.stacks[0]
        self.command.prepare(first)
        died, said = self.crash(first, 0)
        assert not died
        moments = json.loads(said)
        self.tally.calls, self.tally.moments = calls_of(moments), len(moments)
        chosen = [(at, self._next(at)) for at in self._moments(len(moments))]
        with ThreadPoolExecutor(len(self.stacks)) as pool:
            shares = [chosen[number :: len(self.stacks)] for number in range(len(self.stacks))]
            list(pool.map(self._share, self.stacks, shares))
        if FULL:
            self.tally.save()
        assert self.tally.failures == []
        assert self.tally.converged == self.tally.total
        assert (self.tally.second, self.tally.lost) == (0, 0)

    def crash(self, stack: Stack, at: int) -> tuple[bool, str]:
        """Run the command so that it dies at that moment; whether it did, and what it printed last."""
        done = subprocess.run(
            [sys.executable, str(DRIVER), stack.name, str(at), *self.command.words], capture_output=True, text=True
        )
        assert done.returncode in (0, -9), done.stderr
        return done.returncode == -9, done.stdout.splitlines()[-1]

    def _moments(self, count: int) -> list[int]:
        """All moments, or some that are spread over the command and differ from run to run."""
        if FULL:
            return list(range(1, count + 1))
        width = count / self.command.sample
        return [1 + int(width * (part + random.random())) for part in range(self.command.sample)]

    def _next(self, at: int) -> str:
        return TURNS[at % len(TURNS)] if FULL else random.choice(TURNS)

    def _share(self, stack: Stack, share: Sequence[tuple[int, str]]) -> None:
        for at, following in share:
            before = self.command.prepare(stack)
            died, moment = self.crash(stack, at)
            if died:
                self._follow(stack, before, f"killed {moment} (moment {at}), then {following}", FOLLOWING[following])

    def _follow(self, stack: Stack, before: frozenset[str], case: str, following: Following) -> None:
        none_left = not stack.labelled()
        problem = self._attempt(stack, following, none_left)
        second = problem is not None and self._attempt(stack, following, none_left) is None
        stake = before & self.command.keeps & following.keeps
        if stake and not following.leaves_it_up:
            up = stack.run("up", ok=False)  # for a look at the data
            problem = problem or (f"up, after it: {up.errors}" if up.status else None)
        gone = stake - stored(stack) if stake else stake
        with self._lock:
            self.tally.ran(" ".join(following.words))
            self.tally.converged += problem is None
            self.tally.second += second
            self.tally.at_stake += len(stake)
            self.tally.lost += len(gone)
            self.tally.failures += [f"{case}: {problem}"] if problem else []
            self.tally.failures += [f"{case}: lost {sorted(gone)}"] if gone else []

    def _attempt(self, stack: Stack, following: Following, none_left: bool) -> str | None:
        """Run a command that is not killed; returns what is wrong after it, or None."""
        answer = stack.run(*following.words, ok=False)
        if none_left and [error["code"] for error in answer.errors] == ["unknown-stack"]:
            return None
        if answer.status != 0 and following.words != ("status",):
            return str(answer.errors)
        if following.words != ("status",) and (running := left_of_compose(stack)):
            return f"still running: {running}"
        try:
            following.check(stack, answer)
        except AssertionError as error:
            return f"wrong state: {error}"
        return None


def from_nothing(stack: Stack) -> frozenset[str]:
    if stack.labelled():
        stack.run("destroy")
    return frozenset()


def working(stack: Stack) -> frozenset[str]:
    """A stack that works and holds an object of each kind."""
    stack.run("up")
    if (found := stored(stack)) != ALL:
        if found:
            stack.run("reset")
        store(stack)
    return ALL


def stopped(stack: Stack) -> frozenset[str]:
    working(stack)
    stack.run("down")
    return ALL


def wedged(stack: Stack) -> frozenset[str]:
    """A daemon that runs and does not answer: SIGSTOP, which the engine does not know of."""
    working(stack)
    stack.container("tabled-1").kill("SIGSTOP")
    return ALL


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Stack]]:
    made = [Stack(f"test-sweep-{secrets.token_hex(3)}", tmp_path_factory.mktemp("sweep")) for _ in range(STACKS)]
    yield made
    for stack in made:
        if stack.labelled():
            stack.run("destroy")
        assert stack.labelled() == []
        stack.client.close()
    if FULL:
        write_page()


SWEPT = (
    Command("`up` from nothing", ("up",), from_nothing, sample=2),
    Command("`up` after `down`", ("up",), stopped),
    Command("`up` that heals", ("up",), wedged),
    Command("`down`", ("down",), working),
    Command("`reset`", ("reset",), working, frozenset(), sample=2),
    Command("`reset chunkd`", ("reset", "chunkd"), working, NOT_IN_CHUNKD),
    Command("`destroy`", ("destroy",), working, frozenset()),
)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", SWEPT, ids=lambda command: command.title.replace("`", ""))
def test_the_next_command_converges(stacks: list[Stack], command: Command) -> None:
    Sweep(command, stacks).run()
