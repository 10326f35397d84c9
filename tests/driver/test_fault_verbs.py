"""Faults on the engine in memory: what is recorded, listed and ended, also after the driver was killed."""

from collections.abc import Callable

import pytest

from hailbox.commands.down import destroy, down
from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerState, Helper
from hailbox.fault import duration
from hailbox.fault.active import clear, ls
from hailbox.fault.inject import FaultRequest, inject
from hailbox.model import names
from hailbox.model.errors import (
    FaultActiveError,
    FaultFailedError,
    NotWorkingError,
    StackDownError,
    UnknownFaultError,
    UnknownServiceError,
    UnknownStackError,
    UsageError,
)
from support.fakestack import MakeContext


def agent(helper: Helper) -> bytes:
    """What the agents print; the one that looks for a file to corrupt finds one."""
    if "-look-" in helper.name:
        return b'{"file": "bodies/1", "offset": 10, "length": 64, "digest": "00"}'
    return b"[]" if "-lostprocesses-" in helper.name else b"ready\n"


@pytest.fixture
def context(fake: FakeEngine, make_context: MakeContext) -> Context:
    made = make_context()
    up(made)
    fake.work = agent
    return made


def helpers(fake: FakeEngine) -> list[str]:
    return sorted(c.name for c in fake.all_containers.values() if names.HELPER in c.labels)


EVERY = [
    FaultRequest("kill", "chunkd-1"),
    FaultRequest("stop", "iwhd"),
    FaultRequest("pause", "cld-1"),
    FaultRequest("partition", "tabled-1", peer="cld-1"),
    FaultRequest("isolate", "cld-1"),
    FaultRequest("slow", "chunkd-1", delay=0.2, loss=0.3),
    FaultRequest("fill-disk", "chunkd-1"),
    FaultRequest("corrupt", "chunkd-1"),
]


@pytest.mark.parametrize("asked", EVERY, ids=lambda asked: asked.kind)
def test_each_kind_is_listed_and_cleared(fake: FakeEngine, context: Context, asked: FaultRequest) -> None:
    fault = inject(context, asked)
    assert fault.kind == asked.kind
    assert ls(context) == [fault]
    assert clear(context, [fault.id]).faults == (fault.id,)
    assert ls(context) == []
    assert helpers(fake) == []


def test_what_a_fault_is_called_and_says(context: Context) -> None:
    parted = inject(context, FaultRequest("partition", "tabled-1", peer="cld-1", seconds=60))
    assert (parted.id, parted.targets) == ("partition-cld-1-tabled-1", ("cld-1", "tabled-1"))
    assert parted.until is not None
    slow = inject(context, FaultRequest("slow", "chunkd", delay=0.2, loss=0.3))
    assert slow.detail == "what it sends comes 0.2 s later, 30% of what it sends get lost"
    assert [fault.id for fault in ls(context)] == ["partition-cld-1-tabled-1", "slow-chunkd-1"]


def test_helpers_get_only_what_they_need(fake: FakeEngine, context: Context) -> None:
    inject(context, FaultRequest("isolate", "cld-1"))
    inject(context, FaultRequest("pause", "chunkd-1"))
    network, process = (fake.helpers[key] for key in sorted(fake.helpers))
    assert network.network.startswith("container:")
    assert (network.host_processes, network.capabilities, network.mounts) == (False, ("NET_ADMIN", "NET_RAW"), {})
    assert (process.network, process.host_processes, process.capabilities) == ("none", True, ("KILL",))


def test_one_fault_is_not_made_twice_but_again_after_it_ended(fake: FakeEngine, context: Context) -> None:
    inject(context, FaultRequest("pause", "cld-1"))
    with pytest.raises(FaultActiveError):
        inject(context, FaultRequest("pause", "cld-1"))
    for container in list(fake.all_containers.values()):
        if names.HELPER in container.labels:
            fake.kill_container(container.id)
    assert ls(context) == []
    inject(context, FaultRequest("pause", "cld-1"))
    assert [fault.id for fault in ls(context)] == ["pause-cld-1"]


def test_clearing_by_replica_leaves_the_others(context: Context) -> None:
    for asked in EVERY[2:6]:
        inject(context, asked)
    assert clear(context, ["cld-1"]).faults == ("isolate-cld-1", "partition-cld-1-tabled-1", "pause-cld-1")
    assert [fault.id for fault in ls(context)] == ["slow-chunkd-1"]
    with pytest.raises(UnknownFaultError):
        clear(context, ["cld-1"])
    assert clear(context).faults == ("slow-chunkd-1",)
    assert clear(context).faults == ()


@pytest.mark.parametrize("verb", [up, down, reset], ids=["up", "down", "reset"])
def test_no_fault_survives(fake: FakeEngine, context: Context, verb: Callable[[Context], object]) -> None:
    for asked in EVERY:
        inject(context, asked)
    verb(context)
    assert helpers(fake) == []


def test_up_says_which_faults_it_ended_and_changes_nothing_else(fake: FakeEngine, context: Context) -> None:
    before = dict(fake.all_containers)
    inject(context, FaultRequest("isolate", "cld-1"))
    result = up(context)
    assert (result.ended_faults, result.changed) == (("isolate-cld-1",), ())
    assert fake.all_containers == before


def test_reset_of_one_service_ends_the_faults_of_all(fake: FakeEngine, context: Context) -> None:
    inject(context, FaultRequest("corrupt", "chunkd-1"))
    reset(context, ["iwhd"])
    assert helpers(fake) == []


def test_destroy_removes_helpers(fake: FakeEngine, context: Context) -> None:
    inject(context, FaultRequest("corrupt", "chunkd-1"))
    destroy(context)
    assert fake.all_containers == {}


def test_a_fault_that_does_not_come_about_leaves_nothing(fake: FakeEngine, context: Context) -> None:
    fake.work = lambda helper: b"Network: no such device"
    with pytest.raises(FaultFailedError, match="no such device"):
        inject(context, FaultRequest("isolate", "cld-1"))
    assert helpers(fake) == []


class KilledError(BaseException):
    """The driver is gone."""


@pytest.mark.parametrize("asked", EVERY, ids=lambda asked: asked.kind)
def test_a_killed_driver_leaves_what_ls_shows_and_the_next_command_ends(
    fake: FakeEngine, context: Context, asked: FaultRequest
) -> None:
    for at in range(1, 100):
        count = 0

        def kill(moment: str, at: int = at) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise KilledError(moment)

        fake.interrupt = kill
        try:
            inject(context, asked)
        except KilledError:
            fake.interrupt = lambda moment: None
            running = [c for c in fake.all_containers.values() if c.labels.get(names.HELPER) == names.FAULT]
            active = [c for c in running if c.state is ContainerState.RUNNING]
            assert len(ls(context)) == len(active)
            inject(context, asked) if not active else clear(context)
            up(context)
            assert helpers(fake) == []
            continue
        fake.interrupt = lambda moment: None
        break
    assert at > 8


def test_what_cannot_be_asked_for(context: Context, make_context: MakeContext) -> None:
    with pytest.raises(UsageError, match="--delay"):
        inject(context, FaultRequest("slow", "chunkd-1"))
    with pytest.raises(UsageError, match="itself"):
        inject(context, FaultRequest("partition", "cld-1", peer="cld"))
    with pytest.raises(UnknownServiceError):
        inject(context, FaultRequest("pause", "nobody"))
    with pytest.raises(UnknownStackError):
        ls(make_context(stack="other"))


def test_a_replica_that_does_not_run_is_refused(fake: FakeEngine, context: Context) -> None:
    cld = next(c for c in fake.all_containers.values() if c.labels.get(names.REPLICA) == "cld-1")
    fake.kill_container(cld.id)
    with pytest.raises(NotWorkingError, match="exited"):
        inject(context, FaultRequest("pause", "cld-1"))
    down(context)
    with pytest.raises(StackDownError):
        inject(context, FaultRequest("pause", "cld-1"))


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("10s", 10), ("1.5m", 90), ("2h", 7200), ("3", 3)])
def test_durations(text: str, seconds: float) -> None:
    assert duration.seconds(text, "--for") == seconds


@pytest.mark.parametrize("text", ["", "0", "-1s", "1d", "s", "1 s", "10S"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="--for"):
        duration.seconds(text, "--for")


@pytest.mark.parametrize(("text", "share"), [("30%", 0.3), ("0.25", 0.25), ("100%", 1)])
def test_shares(text: str, share: float) -> None:
    assert duration.share(text, "--loss") == share


@pytest.mark.parametrize("text", ["", "0", "101%", "1.5", "-3%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match="--loss"):
        duration.share(text, "--loss")
