"""Numbers and elements as text."""

import pytest

from feyngd.svg.elements import number


@pytest.mark.parametrize(
    ("value", "written"), [(1.1, "1.1"), (2.0, "2"), (-0.001, "0"), (-2.5, "-2.5"), (0.126, "0.13"), (100.0, "100")]
)
def test_coordinates_are_short(value, written):
    assert number(value) == written
