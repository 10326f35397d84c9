"""Which images a build removes: ours, superseded, a day old, and used by nobody."""

from dataclasses import replace

import pytest

from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerState, Image
from hailbox.images.prune import AGE, prune, superseded
from hailbox.model import names
from hailbox.model.errors import EngineFailedError

NOW = 1_800_000_000


def image(identifier: str, *tags: str, name: str = "tabled", age: float = 0) -> Image:
    return Image(identifier, tags, {names.IMAGE: name}, created=int(NOW - age))


NEW = image("new", "hailbox/tabled:new")
OLD = image("old", "hailbox/tabled:old", age=AGE)


def container(image_id: str) -> Container:
    return Container("c", "c", "hailbox/tabled:old", image_id, ContainerState.EXITED)


def test_what_is_superseded_goes() -> None:
    assert superseded([NEW, OLD], [], {"hailbox/tabled:new"}) == ["hailbox/tabled:old"]


@pytest.mark.parametrize(
    ("images", "containers", "kept"),
    [
        pytest.param([NEW, OLD], [container("old")], set(), id="a container was made of it, running or not"),
        pytest.param([NEW, replace(OLD, created=NOW - AGE + 1)], [], set(), id="it is less than a day old"),
        pytest.param([NEW, OLD], [], {"hailbox/tabled:old"}, id="the plan has it again"),
        pytest.param([NEW, image("b", "hailbox/base:x", name="base", age=AGE)], [], set(), id="it is the base"),
        pytest.param([OLD], [], set(), id="nothing newer is there"),
        pytest.param([], [], set(), id="there is none"),
    ],
)
def test_what_stays(images: list[Image], containers: list[Container], kept: set[str]) -> None:
    assert superseded(images, containers, kept) == []


def test_without_a_tag_it_goes_by_its_id() -> None:
    assert superseded([NEW, replace(OLD, tags=())], [], set()) == ["old"]


def test_others_images_are_never_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By label; and what the engine keeps, because another image is built on it, is no error."""
    engine = FakeEngine()
    engine.all_images = {"hailbox/tabled:new": NEW, "hailbox/tabled:old": OLD}
    engine.all_images["postgres:9"] = Image("p", ("postgres:9",), {}, created=1)
    engine.all_images["parent"] = replace(OLD, id="parent", tags=())
    remove = engine.remove_image

    def refusing(reference: str) -> None:
        if reference == "parent":
            raise EngineFailedError("image has dependent child images", "")
        remove(reference)

    monkeypatch.setattr(engine, "remove_image", refusing)
    prune(engine, set())
    assert set(engine.all_images) == {"hailbox/tabled:new", "postgres:9", "parent"}
