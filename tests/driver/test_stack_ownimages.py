"""An image of the user's own that is missing is named before anything is changed."""

import pytest

from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.doctor.examine import doctor
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Image
from hailbox.model.errors import OwnImageMissingError
from support.fakestack import DATA, MakeContext, Removals


def test_up_names_the_key_that_chose_it(fake: FakeEngine, make_context: MakeContext) -> None:
    with pytest.raises(OwnImageMissingError, match=r"my/chunkd that images.chunkd names \(hailbox.yaml or an option"):
        up(make_context(images={"chunkd": "my/chunkd"}))
    assert not fake.all_volumes


def test_what_the_stack_keeps_is_named_and_reset_discards_nothing(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    fake.all_images["my/chunkd"] = Image("sha256:1", ("my/chunkd",))
    up(make_context(images={"chunkd": "my/chunkd"}))
    assert up(make_context()).working
    del fake.all_images["my/chunkd"]
    for container in list(fake.all_containers.values()):
        fake.remove_container(container.id)
    removals.volumes.clear()
    with pytest.raises(OwnImageMissingError, match="the stack keeps that choice"):
        reset(make_context())
    assert removals.volumes == []
    assert sorted(v for v in fake.all_volumes if v in DATA) == DATA
    codes = [error.code for error in doctor(make_context()).errors]
    assert "own-image-missing" in codes


def test_the_way_back_is_what_the_remedy_says(fake: FakeEngine, make_context: MakeContext) -> None:
    with pytest.raises(OwnImageMissingError) as missing:
        up(make_context(images={"chunkd": "my/chunkd"}))
    assert "images.chunkd: ours" in missing.value.remedy
    assert up(make_context(images={"chunkd": "ours"})).working
