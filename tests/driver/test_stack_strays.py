"""Processes that the engine has lost track of: who is looked for, when, and what becomes of them and of the data."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from hailbox.commands.down import destroy, down
from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.diagnosis import evidence
from hailbox.engine.docker.objects import container as listed
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerDetails, ContainerState, Helper
from hailbox.model import names
from hailbox.model.errors import DataInUseError, EngineFailedError
from hailbox.model.progress import Phase, Progress
from support.fakestack import MakeContext

ORPHAN = "f" * 64
"""The id of a container that the engine does not know."""


class Lost:
    """The processes of the engine's host that it has lost track of, as (container, replica)."""

    def __init__(self, fake: FakeEngine, context: Context) -> None:
        self.fake = fake
        self.context = context
        self.processes: list[tuple[str, str]] = []
        self.spared: list[list[str]] = []
        """By look: the containers that were said to run."""
        self.ended: Callable[[str], None] = lambda replica: None
        """What follows from the end of a process."""
        self.mortal = True
        fake.work = self._look

    def _look(self, helper: Helper) -> bytes:
        if "-lostprocesses-" not in helper.name:
            return b""
        assert helper.host_processes
        self.spared.append(json.loads(helper.command[-2]))
        found = [
            {
                "pid": 100 + number,
                "container": container,
                "volume": f"hailbox-test-{replica}",
                "says": "python3",
                "ended": self.mortal,
            }
            for number, (container, replica) in enumerate(self.processes)
            if container not in self.spared[-1] and f"hailbox-test-{replica}" in helper.mounts
        ]
        if self.mortal:
            ended, self.processes = self.processes, []
            for _, replica in ended:
                self.ended(replica)
        return json.dumps(found).encode()

    def container(self, replica: str) -> Container:
        return next(c for c in self.fake.all_containers.values() if c.labels.get(names.REPLICA) == replica)

    def alter(self, replica: str, state: ContainerState) -> Container:
        found = replace(self.container(replica), state=state)
        self.fake.all_containers[found.id] = found
        return found

    def keeps_data(self, replica: str) -> None:
        """The daemon of that replica ends, and says why by its exit status, as long as there is the process."""
        ended = ContainerDetails(evidence.DATA_IN_USE, False, "", 1.7e9, 1.7e9, 4, 0)
        self.fake.details[self.container(replica).id] = ended
        self.context.watch.sick |= {replica}  # type: ignore[attr-defined]
        self.ended = lambda ended: self.context.watch.sick.discard(ended)  # type: ignore[attr-defined]


@pytest.fixture
def lost(fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> Lost:
    context = make_context()
    up(context)
    monkeypatch.setattr(fake, "remove_volume", lambda name: pytest.fail(f"volume {name} was removed"))
    return Lost(fake, context)


def test_nobody_is_looked_for_while_all_containers_run(lost: Lost) -> None:
    assert up(lost.context).working
    down(lost.context)
    assert lost.spared == []


@pytest.mark.parametrize("state", [ContainerState.CREATED, ContainerState.EXITED, ContainerState.RESTARTING])
def test_the_process_of_a_container_that_does_not_run_is_ended_before_it_is_started(
    lost: Lost, state: ContainerState
) -> None:
    before = lost.alter("chunkd-1", state)
    lost.processes = [(before.id, "chunkd-1")]
    told: list[Progress] = []
    assert up(replace(lost.context, report=told.append)).working
    assert lost.processes == []
    assert lost.container("chunkd-1").id != before.id
    assert [(step.subject, step.detail) for step in told if step.phase is Phase.HEALING] == [
        ("chunkd-1", "end of process 100, which the engine had lost track of")
    ]
    # Its look is followed by one that finds none.
    assert len(lost.spared) == 2
    assert before.id not in lost.spared[0]
    assert lost.container("cld-1").id in lost.spared[0]


def test_where_there_is_none_the_container_stays_and_is_started(lost: Lost) -> None:
    before = lost.alter("tabled-1", ContainerState.EXITED)
    assert up(lost.context).working
    assert lost.container("tabled-1").id == before.id
    assert len(lost.spared) == 1


def test_nobody_looks_while_volumes_are_removed(fake: FakeEngine, make_context: MakeContext) -> None:
    """The helper that looks has them mounted, and a volume that is in use cannot be removed."""
    context = make_context()
    up(context)
    lost = Lost(fake, context)
    doomed = lost.alter("cld-1", ContainerState.CREATED)
    lost.processes = [(doomed.id, "cld-1")]
    result = reset(context, ["chunkd"])
    assert result.stack is not None
    assert result.stack.working
    assert result.removal.volumes == ("hailbox-test-chunkd-1",)
    assert lost.container("cld-1").id != doomed.id
    # The look that found one, and the look after it: all before the first volume goes.
    assert len(lost.spared) == 2


def test_the_container_of_somebody_else_that_runs_is_spared(lost: Lost) -> None:
    other = replace(lost.container("chunkd-1"), id="other", name="theirs", labels={})
    lost.fake.all_containers["other"] = other
    lost.alter("chunkd-1", ContainerState.CREATED)
    lost.processes = [("other", "chunkd-1")]
    assert up(lost.context).working
    assert "other" in lost.spared[0]
    assert "other" in lost.fake.all_containers


@pytest.mark.parametrize(("lasted", "restless"), [(0.1, False), (2.4, True)])
def test_a_container_that_the_engine_starts_again_and_again_is_made_anew(
    lost: Lost, lasted: float, restless: bool
) -> None:
    """The sign is the time that it loses between an end that was none and the next start."""
    lost.fake.all_containers = {key: replace(c, young=True) for key, c in lost.fake.all_containers.items()}
    before, now = lost.container("cld-1"), time.time()
    lost.fake.details[before.id] = ContainerDetails(0, False, "", now - 1, now - 1 - lasted, 3, 7)
    assert up(lost.context).working
    assert (lost.container("cld-1").id != before.id) is restless
    assert all(before.id not in spared for spared in lost.spared)


def test_also_where_that_shows_behind_its_start(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = lost.alter("cld-1", ContainerState.EXITED), time.time()
    start = lost.fake.start_container

    def start_container(identifier: str) -> None:
        start(identifier)
        if identifier == before.id:
            lost.fake.all_containers[identifier] = replace(lost.fake.all_containers[identifier], young=True)
            lost.fake.details[identifier] = ContainerDetails(0, False, "", now, now - 2.5, 1, 7)

    monkeypatch.setattr(lost.fake, "start_container", start_container)
    assert up(lost.context).working
    assert lost.container("cld-1").id != before.id


def test_a_process_of_no_container_that_keeps_the_data_is_ended_by_up(lost: Lost) -> None:
    lost.processes = [(ORPHAN, "chunkd-1")]
    lost.keeps_data("chunkd-1")
    result = up(lost.context)
    assert result.working
    assert result.healed == ("chunkd-1",)
    assert lost.processes == []


@pytest.mark.parametrize("holder", [None, "theirs"])
def test_data_that_somebody_keeps_is_never_advised_to_be_discarded(lost: Lost, holder: str | None) -> None:
    if holder:
        other = replace(lost.container("tabled-1"), id="other", name=holder, labels={})
        lost.fake.all_containers["other"] = other
        lost.processes = [("other", "tabled-1")]
    else:
        lost.processes = [(ORPHAN, "tabled-1")]
        lost.mortal = False
    lost.keeps_data("tabled-1")
    lost.ended = lambda replica: None
    # A re-created daemon ends for the same reason.
    lost.fake.details = Always(lost.fake.details[lost.container("tabled-1").id])
    with pytest.raises(DataInUseError) as caught:
        up(lost.context)
    assert caught.value.problem.startswith("tabled-1 does not start, as another process has its data")
    assert "reset" not in caught.value.remedy
    assert "no data is lost" in caught.value.remedy
    assert ("docker stop theirs" in caught.value.remedy) is bool(holder)
    assert ("kill, in vain, of process 100" in caught.value.problem) is not bool(holder)


class Always(dict[str, ContainerDetails]):
    """One answer for every container."""

    def __init__(self, value: ContainerDetails) -> None:
        super().__init__()
        self._value = value

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> ContainerDetails:
        return self._value


def test_an_engine_that_lets_no_helper_see_its_host_is_no_obstacle(
    lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(helper: Helper, *, deadline: float) -> bytes:
        raise EngineFailedError("cannot share the host's process name space", "ask for it")

    monkeypatch.setattr(lost.fake, "run_helper", refuse)
    lost.alter("chunkd-1", ContainerState.EXITED)
    assert up(lost.context).working


@pytest.mark.parametrize("verb", [down, destroy, reset], ids=lambda verb: verb.__name__)
def test_who_removes_a_container_ends_its_process_first(
    lost: Lost, verb: Callable[[Context], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost.fake, "remove_volume", lambda name: None)
    before = lost.alter("iwhd-1", ContainerState.CREATED)
    lost.processes = [(before.id, "iwhd-1")]
    verb(lost.context)
    assert lost.processes == []
    assert lost.spared


@pytest.mark.parametrize(
    ("says", "young"),
    [
        ("Up Less than a second", True),
        ("Up 45 seconds", True),
        ("an engine may say something else", True),
        ("Up About a minute", False),
        ("Up About an hour (healthy)", False),
        ("Up 4 weeks", False),
    ],
)
def test_only_a_container_that_was_started_lately_is_asked_about(says: str, young: bool) -> None:
    entry = {"Id": "1", "Names": ["/a"], "Image": "b", "ImageID": "c", "State": "running", "Labels": {}, "Ports": []}
    assert listed(entry | {"Mounts": [], "Status": says}).young is young
