"""One code for each cause, whatever the verb: `up`, `wait`, `status --why` and `doctor` on the same sick replica."""

from __future__ import annotations

import pytest

from hailbox.commands.status import wait
from hailbox.commands.up import up
from hailbox.diagnosis import evidence
from hailbox.doctor.examine import doctor, why
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerDetails, ContainerState
from hailbox.model import names
from hailbox.model.errors import HailboxError
from hailbox.stack import heal
from haild.daemon import errors as daemon_errors
from support.fakestack import MakeContext, container_of, set_state


def details(status: int, *, memory: bool = False, restarts: int = 0, pid: int = 0) -> ContainerDetails:
    return ContainerDetails(status, memory, "", 1.7e9, 1.7e9, restarts, pid)


CASES = {
    "crash-loop": (details(1, restarts=9), ContainerState.RESTARTING),
    "container-stopped": (details(1), ContainerState.EXITED),
    "out-of-memory": (details(137, memory=True), ContainerState.EXITED),
    "unresponsive": (details(0, pid=1), ContainerState.RUNNING),
    "data-damaged": (details(evidence.DAMAGED_DATA, restarts=2), ContainerState.RESTARTING),
    "data-in-use": (details(evidence.DATA_IN_USE, restarts=2), ContainerState.RESTARTING),
    "volume-full": (details(evidence.CANNOT_WRITE, restarts=2), ContainerState.RESTARTING),
}


@pytest.mark.parametrize("code", CASES)
def test_every_verb_gives_the_same_code(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    context = make_context()
    up(context)
    context.watch.sick.add("tabled-1")  # type: ignore[attr-defined]
    seen, state = CASES[code]
    if code == "volume-full":
        fake.work = lambda helper: b"full" if "-volumecheck-" in helper.name else b""

    def make_sick() -> None:
        fake.details[container_of(fake, "tabled-1").id] = seen
        set_state(fake, "tabled-1", state)

    # What is restarted or re-created is as sick as before.
    start = fake._start

    def start_sick(identifier: str) -> None:
        start(identifier)
        if fake.all_containers[identifier].labels.get(names.REPLICA) == "tabled-1":
            make_sick()

    monkeypatch.setattr(fake, "_start", start_sick)
    monkeypatch.setattr(heal, "_RESTARTED_DEADLINE", 0.0)
    monkeypatch.setattr(heal, "_RECREATED_DEADLINE", 0.0)
    make_sick()
    codes = {"doctor": doctor(context).errors[0].code, "status --why": why(context).errors[0].code}
    with pytest.raises(HailboxError) as waited:
        wait(context, deadline=0.01)
    with pytest.raises(HailboxError) as brought_up:
        up(context)
    codes |= {"wait": waited.value.code, "up": brought_up.value.code}
    assert set(codes.values()) == {code}, codes


def test_the_exit_statuses_are_those_of_the_daemons() -> None:
    """The driver has its own, as it imports nothing that only daemons need."""
    ours = (evidence.DAMAGED_DATA, evidence.CANNOT_WRITE, evidence.DATA_IN_USE)
    assert ours == (daemon_errors.EXIT_DAMAGED, daemon_errors.EXIT_UNWRITABLE, daemon_errors.EXIT_IN_USE)
