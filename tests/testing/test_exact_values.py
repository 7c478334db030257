"""Exact values of single diagrams against tensors."""

import numpy as np
import pytest

from feyngd import Diagram
from feyngd.testing import ExactValues, PolynomialLandscape


@pytest.mark.parametrize("basis", ["moment", "cumulant"])
def test_vectors_are_gradients_and_their_contractions(basis):
    """An open root has no datapoint of its own: [a] is G, [a[b]] is HG."""
    landscape = PolynomialLandscape([{(2, 0): 1, (1, 1): 3}, {(0, 2): 1, (1, 0): -1}, {(3, 0): 2}])
    values = ExactValues(landscape, [1, 2])
    G, H = values.tensor(1), values.tensor(2)
    assert values.vector(Diagram.parse("[a]"), basis) == tuple(G)
    assert values.vector(Diagram.parse("[a[b]]"), basis) == tuple(H @ G)
    assert values.value(Diagram.parse("[a b]"), basis) == np.dot(G, H @ G)
