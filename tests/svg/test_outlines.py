"""Outlines that keep away from other nodes and from each other."""

from feyngd.svg._curves import samples
from feyngd.svg._outlines import outline_curves


def test_outlines_keep_off_each_other():
    """Two long links side by side: the second, whose straight line would run along the first, bends away from it."""
    places = {1: (0.0, 0.0), 2: (100.0, 0.0), 3: (-10.0, 15.0), 4: (110.0, 15.0)}
    first, second = (
        [point for curve in curves for point in samples(curve)]
        for curves in outline_curves(places, [{1, 2}, {3, 4}], clearance=5.0, width=20.0).values()
    )
    assert all(y == 0 for _, y in first)
    middle = min(second, key=lambda point: abs(point[0] - 50))
    assert middle[1] > 20
