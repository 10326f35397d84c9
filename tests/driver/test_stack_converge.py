"""What is started: the one-shot container only if something that it writes is not as it should be."""

from dataclasses import replace

import pytest

from hailbox.commands.down import down
from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from support.fakestack import MakeContext

VOLUME = "hailbox-test-credentials"


@pytest.fixture
def started(fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stack is up; the replicas whose containers are started from now on."""
    up(make_context())
    found: list[str] = []
    start = fake.start_container

    def note(container_id: str) -> None:
        found.append(fake.all_containers[container_id].labels[names.REPLICA])
        start(container_id)

    monkeypatch.setattr(fake, "start_container", note)
    return found


SERVICES = ["chunkd-1", "cld-1", "iwhd-1", "tabled-1"]


def test_what_is_right_is_not_written_again(make_context: MakeContext, started: list[str]) -> None:
    reset(make_context())
    assert sorted(started) == SERVICES
    down(make_context())
    up(make_context())
    assert sorted(started) == sorted(SERVICES * 2)
    up(make_context())
    assert len(started) == 8


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_configuration_that_somebody_has_damaged_is_written_again(
    fake: FakeEngine, make_context: MakeContext, started: list[str], damage: str
) -> None:
    before = fake.contents[VOLUME]
    name = next(path for path in before.files if path.endswith("tabled.conf"))
    files = {path: content for path, content in before.files.items() if path != name}
    fake.contents[VOLUME] = replace(before, files=files | ({name: b"damaged"} if damage == "changed" else {}))
    reset(make_context())
    assert sorted(started) == sorted([*SERVICES, ONE_SHOT])
    assert fake.contents[VOLUME] == before


def test_another_scale_is_another_configuration(make_context: MakeContext, started: list[str]) -> None:
    up(make_context(scale={"chunkd": 2}))
    assert sorted(started) == ["chunkd-2", ONE_SHOT]
