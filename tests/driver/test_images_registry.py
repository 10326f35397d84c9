"""Images of ours in a registry: names, what is taken from there, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Image
from hailbox.images import registry
from hailbox.images.progress import ImageProgress
from hailbox.model import names
from hailbox.model.errors import UsageError

PREFIX = "registry.example:5000/team/hailbox"
TABLED, CLD = "hailbox/tabled:0123456789abcdef", "hailbox/cld:fedcba9876543210"


def silent(_event: ImageProgress) -> None:
    pass


def an_image(reference: str) -> Image:
    name, digest = reference.removeprefix("hailbox/").split(":")
    return Image(f"sha256:{name}", (reference,), {names.IMAGE: name, names.CONTENT: digest})


def engine_with(*references: str) -> FakeEngine:
    engine = FakeEngine()
    engine.all_images = {reference: an_image(reference) for reference in references}
    return engine


def test_what_one_engine_pushed_another_pulls() -> None:
    first, second = engine_with(TABLED, CLD), FakeEngine()
    pushed = registry.push(first, PREFIX, [TABLED], silent)
    assert pushed == [f"{PREFIX}/tabled:0123456789abcdef-amd64"]
    assert set(first.all_images) == {TABLED, CLD}
    second.registry = first.registry
    assert registry.pull(second, PREFIX, [TABLED, CLD], silent) == [CLD]
    assert set(second.all_images) == {TABLED}


def test_another_image_of_that_name_is_not_taken() -> None:
    engine = FakeEngine()
    name = registry.shared_name(PREFIX, TABLED, "amd64")
    engine.registry[name] = replace(an_image(CLD), tags=(name,))
    assert registry.pull(engine, PREFIX, [TABLED], silent) == [TABLED]
    assert engine.all_images == {}


@pytest.mark.parametrize("prefix", ["registry.example", "localhost:5000/x", "[::1]:5000/a/b-c", "127.0.0.1:5000/t/"])
def test_prefixes(prefix: str) -> None:
    assert registry.check(prefix) == prefix.rstrip("/")


@pytest.mark.parametrize(
    "prefix", ["", "/", "http://host/x", "host/X", "host/x:tag", "host//x", "a b", "host/x@sha256:0"]
)
def test_what_is_no_prefix(prefix: str) -> None:
    with pytest.raises(UsageError):
        registry.check(prefix)


def test_names_in_a_mirror() -> None:
    assert registry.mirrored("python:3.13-slim", "m/hub") == (
        "m/hub/library/python:3.13-slim",
        "m/hub/python:3.13-slim",
    )
    assert registry.mirrored("team/image:1", "m") == ("m/team/image:1",)
