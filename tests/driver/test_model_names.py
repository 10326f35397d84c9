"""Names of stacks, and of what belongs to them."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hailbox.model import names
from hailbox.model.errors import UsageError

LETTERS = string.ascii_lowercase + string.digits


@pytest.mark.parametrize("name", ["a", "0", "hail", "my-stack-2", "a" * 31, "a--b"])
def test_good_names(name: str) -> None:
    assert names.check_stack(name) == name


@pytest.mark.parametrize(
    "name", ["", "-", "-a", "a-", "a" * 32, "A", "a_b", "a.b", "a b", "a/b", "..", "ä", "a\n", "\n", "a\0", "$x"]
)
def test_bad_names(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        names.check_stack(name)
    assert repr(name) in caught.value.problem
    assert "\n" not in caught.value.problem


@given(st.text(max_size=40))
@settings(max_examples=100)
def test_what_is_accepted_is_safe_everywhere(name: str) -> None:
    try:
        names.check_stack(name)
    except UsageError:
        return
    # As a Compose project, a container, a file name.
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", names.project(name))
    assert len(names.container(name, "credentials")) <= 63


@given(st.text(LETTERS, min_size=1, max_size=10), st.text(LETTERS, min_size=1, max_size=10), st.integers(1, 99))
@settings(max_examples=50)
def test_no_two_objects_of_a_stack_are_called_alike(stack: str, service: str, number: int) -> None:
    replica = names.replica(service, number)
    volumes = {names.data_volume(stack, replica), names.data_volume(stack, names.replica(service, number + 1))}
    assert len(volumes | {names.credentials_volume(stack)}) == 3
    assert all(name.startswith(f"{names.project(stack)}-") for name in volumes)


def test_labels_are_in_one_name_space() -> None:
    labels = [value for name, value in vars(names).items() if isinstance(value, str) and value.startswith("org.")]
    assert len(labels) >= 9
    assert len(set(labels)) == len(labels)
    assert all(label.startswith("org.hailbox.") for label in labels)
