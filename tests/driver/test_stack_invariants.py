"""What holds for every verb, on the in-memory engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hailbox.commands.build import build, compose
from hailbox.commands.down import destroy, down
from hailbox.commands.env import env
from hailbox.commands.logs import logs
from hailbox.commands.ls import ls
from hailbox.commands.reset import reset
from hailbox.commands.status import status, wait
from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerState, Image, Network, PublishedPort, Volume
from hailbox.model import names
from hailbox.model.errors import UnknownStackError
from support.fakestack import DATA, MakeContext, Removals, write_data, written


@pytest.mark.parametrize(
    "verb",
    [down, destroy, status, env, lambda context: list(logs(context))],
    ids=["down", "destroy", "status", "env", "logs"],
)
def test_what_needs_a_stack_says_which_there_are(
    make_context: MakeContext, verb: Callable[[Context], object]
) -> None:
    with pytest.raises(UnknownStackError) as caught:
        verb(make_context())
    assert caught.value.remedy == "create it with: hailbox --stack test up"
    up(make_context(stack="other"))
    with pytest.raises(UnknownStackError) as caught:
        verb(make_context())
    assert caught.value.remedy == "there are: other"


def test_no_volume_is_removed_but_by_reset_and_destroy(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    context = make_context()
    up(context)
    write_data(fake)
    for verb in (up, down, up, status, env, build, compose, lambda c: list(logs(c)), lambda c: wait(c, deadline=1)):
        verb(context)
    ls(fake)
    up(make_context(scale={"chunkd": 2}))
    up(make_context(profile="fs"))
    up(make_context(profile="s3"))
    reset(context, dry_run=True)
    destroy(context, dry_run=True)
    assert removals.volumes == []
    assert {name: number for name, number in written(fake).items() if name in DATA} == dict.fromkeys(DATA, 1)


def put_foreign(fake: FakeEngine) -> None:
    """Objects that are not the stack's, with names and labels that could be mistaken for it."""
    for index, labels in enumerate(
        [
            {},
            {names.STACK: "other", names.REPLICA: "cld-1", names.SERVICE: "cld"},
            {names.STACK: "tes", names.REPLICA: "cld-1"},
            {"com.docker.compose.project": "hailbox-test"},
        ]
    ):
        name = f"hailbox-test-foreign-{index}"
        port = (PublishedPort(1, "tcp", "127.0.0.1", 1),)
        fake.all_containers[name] = Container(name, name, "image", "id", ContainerState.EXITED, labels, port)
        fake.all_volumes[name] = Volume(name, labels)
        fake.all_networks[name] = Network(name, name, labels)
        fake.all_images[name] = Image(name, (f"hailbox/foreign:{index}",), labels)


def test_nothing_foreign_is_ever_touched(fake: FakeEngine, make_context: MakeContext) -> None:
    put_foreign(fake)
    kinds = (fake.all_containers, fake.all_volumes, fake.all_networks, fake.all_images)
    foreign = [{key: thing for key, thing in kind.items() if "foreign" in key} for kind in kinds]
    assert all(len(kind) == 4 for kind in foreign)
    context = make_context()
    for verb in (up, down, up, reset, lambda c: reset(c, ["cld"]), lambda c: destroy(c, images=True)):
        verb(context)
        assert [{key: thing for key, thing in kind.items() if "foreign" in key} for kind in kinds] == foreign


def test_stacks_do_not_touch_each_other(fake: FakeEngine, make_context: MakeContext) -> None:
    one, two = make_context(stack="one"), make_context(stack="two", profile="fs")
    up(one)
    up(two)
    assert up(one).changed == up(two).changed == ()
    reset(one)
    destroy(one)
    assert {container.labels[names.STACK] for container in fake.all_containers.values()} == {"two"}
    assert status(two).working
