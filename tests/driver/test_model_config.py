"""`hailbox.yaml`: what it may say, and that whatever else it says is refused by its key."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hailbox.model.config import Config, from_mapping
from hailbox.model.errors import ConfigurationError, UsageError


def test_an_empty_file_chooses_nothing() -> None:
    assert from_mapping(None, "file") == from_mapping({}, "file") == Config() == Config(stack="hail")


def test_all_keys() -> None:
    chosen = from_mapping(
        {
            "stack": "mine",
            "profile": "fs",
            "scale": {"chunkd": 3},
            "ports": {"tabled-1": 8080, "iwhd": 9090},
            "images": {"cld": "own/cld:1"},
        },
        "file",
    )
    assert chosen == Config("mine", "fs", {"chunkd": 3}, {"tabled-1": 8080, "iwhd": 9090}, {"cld": "own/cld:1"})


def test_keys_without_a_value_choose_nothing() -> None:
    assert from_mapping(dict.fromkeys(["stack", "profile", "scale", "ports", "images"]), "file") == Config()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ([], "is not a mapping"),
        ("stack", "is not a mapping"),
        (5, "is not a mapping"),
        ({"Stack": "x"}, "'Stack'"),
        ({1: 2}, "'1'"),
        ({"stack": 5}, "stack is 5"),
        ({"stack": ["x"]}, "stack is ['x']"),
        ({"profile": True}, "profile is True"),
        ({"scale": ["chunkd"]}, "scale is ['chunkd']"),
        ({"scale": {"chunkd": 0}}, "scale.chunkd is 0"),
        ({"scale": {"chunkd": 33}}, "scale.chunkd is 33"),
        ({"scale": {"chunkd": True}}, "scale.chunkd is True"),
        ({"scale": {"chunkd": 2.0}}, "scale.chunkd is 2.0"),
        ({"ports": {"tabled": "8080"}}, "ports.tabled is '8080'"),
        ({"ports": {"tabled": 0}}, "ports.tabled is 0"),
        ({"ports": {"tabled": 65536}}, "ports.tabled is 65536"),
        ({"ports": {"tabled": None}}, "ports.tabled is None"),
        ({"images": "own/cld"}, "images is 'own/cld'"),
        ({"images": {"cld": None}}, "images.cld is None"),
        ({"images": {"cld": ""}}, "images.cld is ''"),
        ({"images": {"cld": {"build": "."}}}, "images.cld is {"),
    ],
    ids=str,
)
def test_what_is_refused_names_file_and_key(text: Any, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(text, "/there/hailbox.yaml")
    assert "/there/hailbox.yaml" in caught.value.problem
    assert named in caught.value.problem
    assert caught.value.remedy


def test_bad_stack_name_is_refused() -> None:
    with pytest.raises(UsageError):
        from_mapping({"stack": "My Stack"}, "file")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=8,
)
FILES = TREES | st.dictionaries(st.sampled_from(["stack", "profile", "scale", "ports", "images"]), TREES, max_size=5)


@given(FILES)
@settings(max_examples=70, deadline=None)
def test_whatever_yaml_may_hold_is_taken_or_refused(text: Any) -> None:
    try:
        chosen = from_mapping(text, "file")
    except UsageError as error:
        told = [error.problem, error.remedy]
    else:
        told = []
        assert all(1 <= number <= 65535 for number in chosen.ports.values())
        assert all(1 <= count <= 32 for count in chosen.scale.values())
        assert all(isinstance(image, str) and image for image in chosen.images.values())
    assert all(len(line.splitlines()) == 1 for line in told)
