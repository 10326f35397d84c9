"""What has a name of the stack and is not the stack's: taken for it, or told before anything is discarded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hailbox.commands.down import destroy, down
from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerState, Network, Volume
from hailbox.model.errors import (
    ComposeMissingError,
    HailboxError,
    ImageError,
    NameTakenError,
    NetworkTwiceError,
    PortTakenError,
)
from hailbox.observe import observe
from hailbox.stack import plan, ports
from support.fakestack import DATA, MakeContext, Removals, write_data, written

THEIRS = Container("theirs", "hailbox-test-cld-1", "busybox", "sha256:x", ContainerState.CREATED)


@pytest.mark.parametrize("verb", [up, reset], ids=["up", "reset"])
def test_a_container_with_one_of_our_names_is_named_and_nothing_discarded(
    fake: FakeEngine, make_context: MakeContext, removals: Removals, verb: Callable[..., object]
) -> None:
    up(make_context())
    down(make_context())
    write_data(fake)
    fake.all_containers["theirs"] = THEIRS
    removals.clear()
    with pytest.raises(NameTakenError, match="hailbox-test-cld-1") as caught:
        verb(make_context())
    assert "docker rename hailbox-test-cld-1" in caught.value.remedy
    assert "reset" not in caught.value.remedy
    assert removals.volumes == []
    assert set(written(fake).values()) == {1}
    # The advice, followed, helps.
    fake.all_containers["theirs"] = replace(THEIRS, name="other")
    verb(make_context())
    assert up(make_context()).working


def test_a_network_with_our_name_is_named(fake: FakeEngine, make_context: MakeContext) -> None:
    fake.all_networks["theirs"] = Network("theirs", "hailbox-test")
    with pytest.raises(NetworkTwiceError, match="hailbox-test") as caught:
        up(make_context())
    assert "docker network rm theirs" in caught.value.remedy
    del fake.all_networks["theirs"]
    assert up(make_context()).working


def fail_with(error: HailboxError) -> Callable[..., object]:
    def refuse(*_words: object, **_options: object) -> object:
        raise error

    return refuse


@pytest.mark.parametrize(
    ("place", "name", "error"),
    [
        (plan, "image_references", ImageError("an image is missing", "build it")),
        (ports, "assign", PortTakenError("a port is taken", "choose another")),
        (None, "compose_version", ComposeMissingError("no Compose", "get one")),
    ],
    ids=["image", "port", "compose"],
)
def test_a_reset_that_cannot_succeed_discards_nothing(
    fake: FakeEngine,
    make_context: MakeContext,
    removals: Removals,
    monkeypatch: pytest.MonkeyPatch,
    place: object,
    name: str,
    error: HailboxError,
) -> None:
    up(make_context())
    down(make_context())
    write_data(fake)
    removals.clear()
    monkeypatch.setattr(place or fake, name, fail_with(error))
    with pytest.raises(type(error)):
        reset(make_context())
    assert (removals.volumes, removals.containers) == ([], [])
    assert set(written(fake).values()) == {1}


def bare(fake: FakeEngine, name: str) -> None:
    """Let a volume lose its labels, as one that the engine makes, or that is restored by hand, has none."""
    fake.all_volumes[name] = Volume(name)


def test_a_volume_that_lost_its_labels_is_the_stacks(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    bare(fake, "hailbox-test-cld-1")
    write_data(fake)
    again = up(make_context())
    assert (again.changed, again.lost) == ((), ())
    assert set(written(fake).values()) == {1}
    reset(make_context())
    assert written(fake)["hailbox-test-cld-1"] == 0
    bare(fake, "hailbox-test-credentials")
    assert set(destroy(make_context()).volumes) == {*DATA, "hailbox-test-credentials"}
    assert fake.all_volumes == {}


@pytest.mark.parametrize("name", ["hailbox-test-other-cld-1", "hailbox-test-cld-x", "hailbox-test-mongod-1", "cld-1"])
def test_other_volumes_are_not(fake: FakeEngine, make_context: MakeContext, name: str) -> None:
    up(make_context())
    bare(fake, name)
    assert name not in {volume.name for volume in observe(fake, "test").volumes}


def test_where_nothing_else_is_of_the_stack_a_volume_is_not_either(fake: FakeEngine) -> None:
    bare(fake, "hailbox-test-cld-1")
    assert observe(fake, "test").empty
