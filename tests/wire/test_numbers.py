"""Numbers in the text of protocols."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haild.wire.numbers import decimal


@pytest.mark.parametrize("text", ["", "-1", "+1", "1_0", " 1", "1 ", "٣", "²", "1.0", "0x1", "9" * 5000])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert decimal(text, 0, 10**30) is None


@given(st.integers(0, 10**19), st.integers(0, 10**19), st.integers(0, 10**19))
def test_a_number_is_read_where_it_is_in_the_range(number: int, least: int, most: int) -> None:
    assert decimal(str(number), least, most) == (number if least <= number <= most else None)
