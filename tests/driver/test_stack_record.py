"""What a stack is stands on everything that it has: any one container, volume or network suffices to know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hailbox.commands.down import down
from hailbox.commands.env import env
from hailbox.commands.reset import reset
from hailbox.commands.status import status
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerState, Network, Volume
from hailbox.model import names
from hailbox.model.errors import RecordGoneError
from hailbox.model.record import Record, newest, older_labels, parse, parse_older
from hailbox.observe import Observed, observe
from support.fakestack import MakeContext

words = st.text(st.characters(codec="utf-8"), max_size=8)
replicas = st.from_regex(r"[a-z]{1,8}-[0-9]{1,2}", fullmatch=True)
records = st.builds(
    Record,
    profile=words,
    definition=st.none() | st.dictionaries(words, words, min_size=1),
    scale=st.dictionaries(words, st.integers(1, 32)),
    images=st.dictionaries(words, words),
    ports=st.dictionaries(st.tuples(replicas, st.from_regex("[a-z]+", fullmatch=True)), st.integers(1, 65535)),
    generation=st.integers(0, 1000),
)


@given(records)
def test_a_label_holds_the_record(record: Record) -> None:
    assert parse(record.text()) == record


@given(st.text(max_size=40) | st.sampled_from(['{"generation":1}', "[]", "null", '{"profile":1,"ports":[]}']))
def test_what_is_no_record_is_ignored(text: str) -> None:
    assert parse(text) is None or parse(parse(text).text()) is not None  # type: ignore[union-attr]
    assert newest([{names.RECORD: text}, {names.PROFILE: "fs"}]) is not None


def test_the_newest_counts() -> None:
    first = Record("s3").after(None)
    second = Record("s3", scale={"chunkd": 2}).after(first)
    assert (first.generation, second.generation) == (1, 2)
    assert second.after(second) == second
    assert newest([{names.RECORD: second.text()}, {names.RECORD: first.text()}, {}]) == second


def test_the_labels_of_an_older_hailbox_are_read() -> None:
    record = Record(
        "failover", None, {"chunkd": 3}, {"cld": "my/cld:1"}, {("cld-1", "cld"): 8081}, {"cld": {"command": ["-v"]}}
    )
    assert parse_older(older_labels(record)) == record
    assert parse_older({names.PROFILE: "s3", names.SCALE: "chunkd=x", names.DEFINITION: "{", f"{names.PORT}a.b": "y"})


def things(observed: Observed) -> list[Container | Volume | Network]:
    return [*observed.containers, *observed.volumes, *observed.networks]


def test_any_one_thing_suffices(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context(profile="failover", scale={"chunkd": 3}, ports={"iwhd-1": 18777}))
    observed = observe(fake, "test")
    assert observed.record is not None
    for thing in things(observed):
        assert newest([thing.labels]) == observed.record, thing.name


def prune(fake: FakeEngine) -> None:
    """As `docker container prune` does."""
    for container in list(fake.all_containers.values()):
        if not container.state.has_process:
            del fake.all_containers[container.id]


def test_a_pruned_one_shot_changes_nothing(fake: FakeEngine, make_context: MakeContext) -> None:
    before = up(make_context(profile="failover", ports={"iwhd-1": 18777}))
    running = {c.id for c in fake.all_containers.values() if c.state is ContainerState.RUNNING}
    variables = env(make_context())
    prune(fake)
    assert env(make_context()) == variables
    assert status(make_context()).working
    after = up(make_context())
    assert [(r.replica, r.endpoint) for r in after.replicas] == [(r.replica, r.endpoint) for r in before.replicas]
    assert running <= fake.all_containers.keys()


@pytest.mark.parametrize("verb", [up, reset], ids=["up", "reset"])
def test_volumes_alone_suffice(fake: FakeEngine, make_context: MakeContext, verb: Callable[..., object]) -> None:
    before = up(make_context(profile="failover", ports={"iwhd-1": 18777}))
    down(make_context())
    prune(fake)
    assert not fake.all_containers
    assert not fake.all_networks
    verb(make_context())
    after = status(make_context())
    assert [(r.replica, r.endpoint) for r in after.replicas] == [(r.replica, r.endpoint) for r in before.replicas]


def test_a_narrower_record_outlives_the_one_shot(fake: FakeEngine, make_context: MakeContext) -> None:
    """No replica has to be re-created for it; one is all the same, so that a running container says it."""
    up(make_context(scale={"chunkd": 3}))
    kept = {
        c.id for c in fake.all_containers.values() if c.labels[names.REPLICA] in ("cld-1", "chunkd-1", "tabled-1")
    }
    up(make_context(scale={"chunkd": 1}))
    prune(fake)
    assert up(make_context()).working
    assert len([c for c in fake.all_containers.values() if c.labels[names.SERVICE] == "chunkd"]) == 1
    assert kept <= fake.all_containers.keys()


def test_growing_re_creates_nothing(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    before = {c.id for c in fake.all_containers.values() if c.labels[names.REPLICA] != "credentials"}
    up(make_context(scale={"chunkd": 2}))
    assert before <= fake.all_containers.keys()
    assert up(make_context()).changed == ()


def test_a_stack_of_an_older_hailbox_is_not_re_created(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())

    def older(labels: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in labels.items() if name != names.RECORD}

    for held in (fake.all_containers, fake.all_volumes, fake.all_networks):
        for key, thing in held.items():
            held[key] = replace(thing, labels=older(thing.labels))  # type: ignore[index]
    before = set(fake.all_containers)
    assert up(make_context()).changed == ()
    assert set(fake.all_containers) == before


def test_where_nothing_says_what_it_was_the_data_does_or_the_user_is_asked(
    fake: FakeEngine, make_context: MakeContext
) -> None:
    up(make_context(profile="fs"))
    strip(fake)
    assert up(make_context()).profile == "fs"
    up(make_context(profile="s3", scale={"chunkd": 4}))
    strip(fake)
    with pytest.raises(RecordGoneError) as caught:
        up(make_context())
    assert "--profile" in caught.value.remedy
    assert up(make_context(profile="s3", scale={"chunkd": 4})).working


def strip(fake: FakeEngine) -> None:
    """Leave the volumes only, without any record."""
    fake.all_containers.clear()
    fake.all_networks.clear()
    for name, volume in fake.all_volumes.items():
        labels = {key: value for key, value in volume.labels.items() if key != names.RECORD}
        fake.all_volumes[name] = replace(volume, labels=labels)


@pytest.mark.parametrize(
    ("recorded", "images", "upstream"),
    [
        ("", {}, False),
        ("", {"chunkd": "my/chunkd"}, True),
        ("random", {"chunkd": "my/chunkd"}, False),
        ("upstream", {}, True),
    ],
)
def test_how_users_are_known(recorded: str, images: dict[str, str], upstream: bool) -> None:
    """Until it was recorded, a stack with an own image had the originals' rule, by which its data have owners."""
    record = Record("s3", images=images, credentials=recorded)
    assert record.upstream_credentials == upstream
    assert parse(record.text()) == record
