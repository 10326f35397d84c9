"""Limits of containers: changed by `docker update`, or too small for a daemon; and those of the shell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hailbox import surroundings
from hailbox.cli import unforeseen
from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.doctor.examine import doctor, why
from hailbox.engine.docker import objects
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerDetails, ContainerState
from hailbox.model import limits
from hailbox.model.config import Limits as Wanted
from hailbox.model.config import Override
from hailbox.model.errors import HailboxError
from hailbox.model.limits import Limits
from support.fakestack import DATA, MakeContext, container_of, set_state, write_data, written

OURS = Limits(512 << 20, 256, 0.0, "unless-stopped")


def update(fake: FakeEngine, replica: str, **changed: Any) -> None:
    """What `docker update` does."""
    container = container_of(fake, replica)
    fake.limits[container.id] = replace(fake.limits[container.id], **changed)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"memory": 6 << 20}, "memory 6 MiB in place of 512 MiB"),
        ({"memory": 0}, "memory unlimited in place of 512 MiB"),
        ({"pids": 8}, "pids 8 in place of 256"),
        ({"cpus": 0.02}, "cpus 0.02 in place of unlimited"),
        ({"restart": "no"}, "restart no in place of unless-stopped"),
        ({"others": ("cpuset-cpus 0",)}, "cpuset-cpus 0 in place of none"),
    ],
)
def test_what_docker_update_changed_is_noticed_and_given_back(
    fake: FakeEngine, make_context: MakeContext, changed: dict[str, Any], words: str
) -> None:
    context = make_context()
    up(context)
    write_data(fake)
    update(fake, "chunkd-1", **changed)
    for found in (why(context).errors, doctor(context).errors):
        assert [error.code for error in found] == ["limits-changed"]
        assert words in found[0].problem
    before = container_of(fake, "cld-1").id
    result = up(make_context())
    assert result.differences == (f"chunkd-1: {words}; given back",)
    assert fake.limits[container_of(fake, "chunkd-1").id] == OURS
    assert container_of(fake, "cld-1").id == before
    assert set(written(fake).values()) == {1}
    assert why(context).errors == ()
    assert up(make_context()).changed == ()


def test_limits_that_an_engine_cannot_set_are_no_change(fake: FakeEngine, make_context: MakeContext) -> None:
    context = make_context()
    up(context)
    update(fake, "chunkd-1", memory=None, pids=None)
    assert why(context).errors == ()
    assert up(make_context()).changed == ()


@pytest.mark.parametrize("wanted", [(), ("chunkd",)])
def test_reset_gives_them_back(fake: FakeEngine, make_context: MakeContext, wanted: tuple[str, ...]) -> None:
    up(make_context())
    for replica in ("chunkd-1", "cld-1"):
        update(fake, replica, memory=6 << 20)
    reset(make_context(), wanted)
    assert {fake.limits[container_of(fake, replica).id] for replica in ("chunkd-1", "cld-1")} == {OURS}


def test_a_sick_replica_with_other_limits_is_told_as_that(fake: FakeEngine, make_context: MakeContext) -> None:
    context = make_context()
    up(context)
    update(fake, "chunkd-1", memory=6 << 20)
    context.watch.sick.add("chunkd-1")  # type: ignore[attr-defined]
    (found,) = why(context).errors
    assert found.code == "limits-changed"
    assert found.remedy.endswith("hailbox --stack test up")


@pytest.fixture
def crashing(fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> MakeContext:
    """A stack whose chunkd ends again and again, whatever is done."""
    start = fake._start

    def start_and_end(identifier: str) -> None:
        start(identifier)
        make_sick()

    def make_sick() -> None:
        found = [c for c in fake.all_containers.values() if c.name == DATA[0]]
        for container in found:
            fake.details[container.id] = ContainerDetails(
                137, True, "", 1.7e9, 1.7e9, 5, 0, fake.limits[container.id]
            )
            set_state(fake, "chunkd-1", ContainerState.RESTARTING)

    monkeypatch.setattr(fake, "_start", start_and_end)
    return make_context


@pytest.mark.parametrize(
    ("service", "key", "value", "says"),
    [
        ("chunkd", "memory", "24m", "memory 24 MiB, and hailbox gives 512 MiB"),
        ("chunkd-1", "pids", 4, "pids 4, and hailbox gives 256"),
        ("chunkd", "cpus", 0.01, "cpus 0.01, and hailbox sets no limit"),
    ],
)
def test_limits_too_small_are_named_with_the_setting_at_once(
    crashing: MakeContext, service: str, key: str, value: Any, says: str
) -> None:
    context = crashing(services={service: Override(limits=Wanted(**{key: value}))})
    with pytest.raises(HailboxError) as caught:
        up(context)
    assert caught.value.code == "limit-too-small"
    assert says in caught.value.problem
    assert "tried" not in caught.value.problem
    assert f"raise services.{service}.limits.{key} in hailbox.yaml" in caught.value.remedy
    assert "reset" not in caught.value.remedy
    assert why(context).errors[0].code == "limit-too-small"


def test_with_our_own_limits_it_is_no_matter_of_limits(crashing: MakeContext) -> None:
    with pytest.raises(HailboxError) as caught:
        up(crashing())
    assert caught.value.code == "out-of-memory"


def test_sizes_are_read_as_compose_reads_them() -> None:
    assert [limits.size(text) for text in ("512m", "1g", "2GB", "64k", "100", 7, "much")] == [
        *(512 << 20, 1 << 30, 2 << 30, 64 << 10, 100, 7, 0)
    ]


def test_the_engine_s_words_for_limits() -> None:
    host: dict[str, Any] = {"Memory": 512 << 20, "PidsLimit": 256, "RestartPolicy": {"Name": "unless-stopped"}}
    assert objects.limits(host) == OURS
    assert objects.limits({**host, "NanoCpus": 20_000_000}).cpus == 0.02
    assert objects.limits({**host, "CpuQuota": 50_000, "CpuPeriod": 100_000}).cpus == 0.5
    assert objects.limits({**host, "Memory": -1, "PidsLimit": -1}) == replace(OURS, memory=0, pids=0)
    assert objects.limits({"Memory": 0, "PidsLimit": None}) == Limits(None, None)
    assert objects.limits({**host, "CpuShares": 2}).others == ("cpu-shares 2",)


def test_a_failure_under_a_low_limit_of_the_shell_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unforeseen.told(MemoryError()).code == "internal-error"
    monkeypatch.setattr(surroundings, "low_limits", lambda: ("16 open files (ulimit -n)",))
    for error in (MemoryError(), RuntimeError("can't start new thread"), OSError(24, "Too many open files")):
        found = unforeseen.told(error)
        assert found.code == "host-limits"
        assert "16 open files (ulimit -n)" in found.problem
    assert unforeseen.told(KeyError("x")).code == "internal-error"
