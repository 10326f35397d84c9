"""Which images a build removes: ours, superseded, a day old, and not in use."""

from dataclasses import replace

import pytest

from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerState, Image
from hailbox.images.ours import without_name
from hailbox.images.prune import AGE, prune, superseded
from hailbox.model import names
from hailbox.model.errors import EngineFailedError

NOW = 1_800_000_000


def image(identifier: str, *tags: str, name: str = "tabled", age: float = 0) -> Image:
    return Image(identifier, tags, {names.IMAGE: name}, created=int(NOW - age))


NEW_NAME, OLD_NAME = f"hailbox/tabled:{'a' * 16}", f"hailbox/tabled:{'b' * 16}"
NEW = image("new", NEW_NAME)
OLD = image("old", OLD_NAME, age=AGE)


def container(image_id: str) -> Container:
    return Container("c", "c", OLD_NAME, image_id, ContainerState.EXITED)


def test_what_is_superseded_goes() -> None:
    assert superseded([NEW, OLD], [], {NEW_NAME}) == [OLD_NAME]


@pytest.mark.parametrize(
    ("images", "containers", "kept"),
    [
        pytest.param([NEW, OLD], [container("old")], set(), id="a container was made of it, running or not"),
        pytest.param([NEW, replace(OLD, created=NOW - AGE + 1)], [], set(), id="it is less than a day old"),
        pytest.param([NEW, OLD], [], {OLD_NAME}, id="the plan has it again"),
        pytest.param([NEW, image("b", "hailbox/base:x", name="base", age=AGE)], [], set(), id="it is the base"),
        pytest.param([OLD], [], set(), id="nothing newer is there"),
        pytest.param([], [], set(), id="there is none"),
    ],
)
def test_what_stays(images: list[Image], containers: list[Container], kept: set[str]) -> None:
    assert superseded(images, containers, kept) == []


def test_without_a_tag_it_goes_by_its_id_if_all_its_steps_are_ours() -> None:
    nameless = replace(OLD, tags=())
    assert superseded([NEW, nameless], [], set(), {"old"}) == ["old"]
    assert superseded([NEW, nameless], [], set()) == []


@pytest.mark.parametrize(
    "tag", ["my/chunkd:latest", "hailbox/tabled:mine", f"mirror/hailbox/tabled:{'b' * 16}", f"hailbox/cld:{'b' * 16}"]
)
def test_what_users_call_their_own_stays(tag: str) -> None:
    """An image that is built FROM one of ours inherits its labels."""
    theirs = image("theirs", tag, age=AGE)
    assert superseded([NEW, theirs], [], set()) == []
    both = image("both", tag, OLD_NAME, age=AGE)
    assert superseded([NEW, both], [], set()) == [OLD_NAME]


def test_steps_tell_whose_an_image_without_a_name_is() -> None:
    engine = FakeEngine()
    base, copy = "1 debian", "2 COPY"
    ours_steps = ("4 LABEL org.hailbox.version=0.1.0", "3 LABEL org.hailbox.image=tabled", copy, base)
    engine.steps = {
        "new": ours_steps,
        "lost its name": ("9 LABEL org.hailbox.version=0.1.0", *ours_steps[1:]),
        "while it was built": (copy, base),
        "built on it": ("5 RUN make", *ours_steps),
        "built on a part of it": ("5 RUN make", copy, base),
        "only set a label": ("5 LABEL com.example.x=y", *ours_steps),
        "nothing known": (),
    }
    images = [NEW, *(image(name) for name in engine.steps if name != "new")]
    assert [found.id for found in without_name(engine, images)] == ["lost its name", "while it was built"]


def test_others_images_are_never_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By label; and what the engine keeps, because another image is built on it, is no error."""
    engine = FakeEngine()
    engine.all_images = {NEW_NAME: NEW, OLD_NAME: OLD}
    engine.all_images["postgres:9"] = Image("p", ("postgres:9",), {}, created=1)
    engine.all_images["parent"] = replace(OLD, id="parent", tags=())
    remove = engine.remove_image

    def refusing(reference: str) -> None:
        if reference == "parent":
            raise EngineFailedError("image has dependent child images", "")
        remove(reference)

    monkeypatch.setattr(engine, "remove_image", refusing)
    prune(engine, set())
    assert set(engine.all_images) == {NEW_NAME, "postgres:9", "parent"}


def test_names_as_podman_shows_them() -> None:
    digest = "b" * 16
    for registry in ("docker.io", "localhost"):
        old = image("old", f"{registry}/hailbox/tabled:{digest}", age=AGE)
        assert superseded([NEW, old], [], set()) == [f"{registry}/hailbox/tabled:{digest}"]
    assert superseded([NEW, image("old", f"quay.io/hailbox/tabled:{digest}", age=AGE)], [], set()) == []
