"""Sizes as people read them; how they are written is tested with `bench`, which takes them."""

from __future__ import annotations

import pytest

from hailbox.model.size import rounded


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1023.7, "1 KiB"),
        (1536, "1.5 KiB"),
        (16 << 20, "16 MiB"),
        (160.4 * 1024, "160 KiB"),
        (99.96 * 1024, "100 KiB"),
        ((1 << 20) - 1, "1 MiB"),
        (3 << 40, "3 TiB"),
        (5000 << 40, "5000 TiB"),
    ],
)
def test_a_rounded_size_has_two_digits_at_least_and_no_empty_fraction(count: float, text: str) -> None:
    assert rounded(count) == text
