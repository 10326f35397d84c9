"""A sample of `make soak`: a few disturbances of two profiles under real clients, from a fixed seed."""

import pytest

from soak.run import soak


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("profile", "seed"), [("s3", 11), ("standby", 12)])
def test_nothing_is_lost_and_nothing_is_left(profile: str, seed: int) -> None:
    tally = soak(seed, minutes=5, most=6, profiles=(profile,))
    assert tally.disturbances.total() == 6
    assert tally.operations > 100
    assert (tally.manual, tally.lost, tally.left) == ([], [], [])
