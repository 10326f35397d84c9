"""`down` and `destroy` on the in-memory engine: what they end, and what stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hailbox.commands import down as stopping
from hailbox.commands.down import Removal, destroy, down
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerDetails, ContainerState, Image
from hailbox.model import names
from support.fakestack import (
    DATA,
    REPLICAS,
    MakeContext,
    Removals,
    container_of,
    names_of,
    set_state,
    write_data,
    written,
)


def test_down_keeps_data_credentials_and_the_record(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    first = up(make_context())
    write_data(fake)
    secrets = fake.contents["hailbox-test-credentials"].credentials
    removals.clear()
    result = down(make_context())
    assert removals.agree_with(result)
    assert names_of(fake) == ["credentials"]
    assert fake.all_networks == {}
    assert removals.volumes == []
    second = up(make_context())
    assert [replica.endpoint for replica in second.replicas] == [replica.endpoint for replica in first.replicas]
    assert set(written(fake).values()) == {1}
    assert fake.contents["hailbox-test-credentials"].credentials == secrets


def test_down_twice_is_no_error(make_context: MakeContext) -> None:
    up(make_context())
    down(make_context())
    assert down(make_context()) == Removal("test", False)


def test_down_stops_cld_behind_its_clients(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    order: list[str] = []
    stop = fake.stop_container

    def note(identifier: str, *, stop_timeout: int) -> None:
        order.append(fake.all_containers[identifier].labels[names.REPLICA])
        stop(identifier, stop_timeout=stop_timeout)

    monkeypatch.setattr(fake, "stop_container", note)
    down(make_context())
    assert sorted(order) == ["chunkd-1", "cld-1", "iwhd-1", "tabled-1"]
    assert order[-1] == "cld-1"


def test_down_names_who_had_to_be_killed(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    stubborn = container_of(fake, "chunkd-1").id
    details = fake.container_details

    def killed(identifier: str) -> ContainerDetails:
        return replace(details(identifier), exit_code=137 if identifier == stubborn else 0)

    monkeypatch.setattr(stopping, "STOP_TIMEOUT", 0)  # no daemon is so fast
    monkeypatch.setattr(fake, "container_details", killed)
    assert down(make_context()).killed == ("chunkd-1",)
    assert names_of(fake) == ["credentials"]


def test_down_lets_a_frozen_one_go_on_first(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    set_state(fake, "iwhd-1", ContainerState.PAUSED)
    frozen = container_of(fake, "iwhd-1").id
    stopped_in: list[ContainerState] = []
    stop = fake.stop_container

    def note(identifier: str, *, stop_timeout: int) -> None:
        if identifier == frozen:
            stopped_in.append(fake.all_containers[identifier].state)
        stop(identifier, stop_timeout=stop_timeout)

    monkeypatch.setattr(fake, "stop_container", note)
    down(make_context())
    assert stopped_in == [ContainerState.RUNNING]
    assert names_of(fake) == ["credentials"]


def test_destroy_leaves_nothing(fake: FakeEngine, make_context: MakeContext, removals: Removals) -> None:
    up(make_context())
    images = dict(fake.all_images)
    listed = destroy(make_context(), dry_run=True)
    assert names_of(fake) == REPLICAS
    result = destroy(make_context())
    assert result == replace(listed, dry_run=False)
    assert removals.agree_with(result)
    assert sorted(result.volumes) == sorted([*DATA, "hailbox-test-credentials"])
    assert (fake.all_containers, fake.all_volumes, fake.all_networks) == ({}, {}, {})
    assert fake.all_images == images


def test_destroy_with_images_removes_those_that_hailbox_made(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    fake.all_images["python:3.13-slim"] = Image("foreign", ("python:3.13-slim",), {"maintainer": "somebody"})
    up(make_context())
    listed = destroy(make_context(), dry_run=True, images=True)
    assert len(listed.images) == 5
    assert destroy(make_context(), images=True) == replace(listed, dry_run=False)
    assert removals.agree_with(listed)
    assert list(fake.all_images) == ["python:3.13-slim"]
    # Also where no stack is left.
    assert destroy(make_context(), images=True) == Removal("test", False)


def test_destroy_with_images_leaves_those_that_others_use(fake: FakeEngine, make_context: MakeContext) -> None:
    """The engine would refuse to remove them, in the middle of the work."""
    fake.all_images["hailbox/base:python3.13"] = Image("base", ("hailbox/base:python3.13",), {names.IMAGE: "base"})
    up(make_context())
    up(make_context(stack="other", profile="fs"))
    removed = destroy(make_context(), images=True).images
    assert sorted(image.partition(":")[0] for image in removed) == ["hailbox/chunkd", "hailbox/cld", "hailbox/tabled"]
    assert {c.image for c in fake.all_containers.values()} <= fake.all_images.keys()
    removed = destroy(make_context(stack="other"), images=True).images
    assert sorted(image.partition(":")[0] for image in removed) == ["hailbox/base", "hailbox/iwhd", "hailbox/runtime"]


def test_destroy_of_a_part(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    fake.all_containers.clear()
    fake.all_networks.clear()
    assert destroy(make_context()).containers == ()
    assert fake.all_volumes == {}
