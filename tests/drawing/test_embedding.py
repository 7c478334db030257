"""Where the nodes of an embedding go on the grid."""

import pytest

import feyngd as fd
from feyngd.drawing import spacetime_svg
from feyngd.drawing._embedding import _places


@pytest.mark.parametrize(
    ("cells", "row"), [([(0, 0), (1, 1)], 1), ([(2, 2), (1, 1)], 2), ([(1, 0), (0, 0)], 0), ([(0, 1), (2, 1)], 0)]
)
def test_a_free_root_is_level_with_its_last_child(cells, row):
    """Of several in the last step, with the uppermost."""
    diagram, spacetime = fd.Diagram.parse("[a b]"), fd.Spacetime.gd(3, 3)
    places = _places(diagram, dict(enumerate(cells, start=1)), 3, 10.0)
    assert places[0] == pytest.approx((39.0, 10 * (row + 0.5)))
    assert spacetime_svg(spacetime, diagram, dict(enumerate(cells, start=1)))
