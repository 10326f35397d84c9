"""Invariant 1: any command can be killed at any instant, and the next one converges.

Exhaustive: the driver dies before and after every request to the engine, and before every step of Compose.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerState
from hailbox.model import names
from hailbox.stack.context import Context
from hailbox.stack.down import destroy, down
from hailbox.stack.reset import reset
from hailbox.stack.up import up

Verb = Callable[[Context], object]


class KilledError(BaseException):
    """The driver is gone; not an Exception, as nothing may catch it."""


class Killer:
    """Kills at the n-th moment, counted from 1."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0
        self.moment = ""

    def __call__(self, moment: str) -> None:
        self.count += 1
        if self.count == self.at:
            self.moment = moment
            raise KilledError(moment)


def prepared(fake: FakeEngine, context: Context) -> None:
    """A working stack with data in every volume."""
    fake.interrupt = lambda moment: None
    up(context)
    for name in fake.contents:
        fake.contents[name] = replace(fake.contents[name], written=1)


def forget(fake: FakeEngine) -> None:
    for kept in (fake.all_containers, fake.all_volumes, fake.all_networks, fake.contents):
        kept.clear()


def assert_whole(fake: FakeEngine, context: Context) -> None:
    replicas = sorted(c.labels[names.REPLICA] for c in fake.all_containers.values())
    assert replicas == ["chunkd-1", "cld-1", "credentials", "iwhd-1", "tabled-1"]
    for container in fake.all_containers.values():
        one_shot = container.labels[names.REPLICA] == "credentials"
        assert container.state is (ContainerState.EXITED if one_shot else ContainerState.RUNNING)
    assert len(fake.all_networks) == 1
    assert len(fake.all_volumes) == 5


def data(fake: FakeEngine) -> dict[str, int]:
    return {name: content.written for name, content in fake.contents.items()}


def sweep(
    fake: FakeEngine, context: Context, prepare: Callable[[], None], verb: Verb, check: Callable[[], None]
) -> int:
    """Run `verb` killed at moment 1, 2, … until it gets through; `check` runs after each kill. Returns the kills."""
    for at in itertools.count(1):
        forget(fake)
        fake.interrupt = lambda moment: None
        prepare()
        killer = Killer(at)
        fake.interrupt = killer
        try:
            verb(context)
        except KilledError:
            fake.interrupt = lambda moment: None
            try:
                check()
            except Exception as error:
                pytest.fail(f"killed {killer.moment} (moment {at}): {type(error).__name__}: {error}")
            continue
        return at - 1
    raise AssertionError("not reached")


def test_up_from_nothing(fake: FakeEngine, make_context: Callable[..., Context]) -> None:
    context = make_context()

    def check() -> None:
        assert up(context).working
        assert_whole(fake, context)

    assert sweep(fake, context, lambda: None, up, check) > 30


def test_up_after_down_keeps_data(fake: FakeEngine, make_context: Callable[..., Context]) -> None:
    context = make_context()

    def prepare() -> None:
        prepared(fake, context)
        down(context)

    def check() -> None:
        assert up(context).working
        assert_whole(fake, context)
        assert set(data(fake).values()) == {1}

    assert sweep(fake, context, prepare, up, check) > 20


def test_up_on_a_working_stack_changes_nothing(fake: FakeEngine, make_context: Callable[..., Context]) -> None:
    context = make_context()
    prepared(fake, context)
    before = dict(fake.all_containers)
    result = up(context)
    assert result.changed == ()
    assert result.healed == ()
    assert fake.all_containers == before


@pytest.mark.parametrize("follow", [up, down, reset], ids=["up", "down", "reset"])
def test_down(fake: FakeEngine, make_context: Callable[..., Context], follow: Verb) -> None:
    context = make_context()

    def check() -> None:
        follow(context)
        up(context)
        assert_whole(fake, context)
        assert set(data(fake).values()) == ({1} if follow is not reset else {0, 1})

    assert sweep(fake, context, lambda: prepared(fake, context), down, check) > 10


def test_reset_discards_all_data_in_the_end(fake: FakeEngine, make_context: Callable[..., Context]) -> None:
    context = make_context()

    def check() -> None:
        assert reset(context).stack is not None
        assert_whole(fake, context)
        volume_data = data(fake)
        assert volume_data.pop("hailbox-test-credentials") == 1
        assert set(volume_data.values()) == {0}

    assert sweep(fake, context, lambda: prepared(fake, context), reset, check) > 30


def test_up_after_a_killed_reset_works(fake: FakeEngine, make_context: Callable[..., Context]) -> None:
    context = make_context()

    def check() -> None:
        assert up(context).working
        assert_whole(fake, context)

    assert sweep(fake, context, lambda: prepared(fake, context), reset, check) > 30


def test_reset_of_one_service_keeps_the_others(fake: FakeEngine, make_context: Callable[..., Context]) -> None:
    context = make_context()

    def reset_chunkd(context: Context) -> object:
        return reset(context, ["chunkd"])

    def check() -> None:
        reset_chunkd(context)
        assert_whole(fake, context)
        written = data(fake)
        assert written.pop("hailbox-test-chunkd-1") == 0
        assert set(written.values()) == {1}

    assert sweep(fake, context, lambda: prepared(fake, context), reset_chunkd, check) > 20


def test_destroy_leaves_nothing_in_the_end(fake: FakeEngine, make_context: Callable[..., Context]) -> None:
    context = make_context()

    def check() -> None:
        if fake.all_containers or fake.all_volumes or fake.all_networks:
            destroy(context)
        assert (fake.all_containers, fake.all_volumes, fake.all_networks) == ({}, {}, {})

    assert sweep(fake, context, lambda: prepared(fake, context), destroy, check) > 10
