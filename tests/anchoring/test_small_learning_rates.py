"""At small ηT the noise along the path is that of the plain cumulant series, order by order in η, on digits."""

import jax
import numpy as np
import pytest

import feyngd as fd
from feyngd.landscapes import Landscape, cross_entropy, digits, tanh_mlp

pytestmark = pytest.mark.slow
STEPS, RATES = 6, np.array([0.00025, 0.0005, 0.001])
SPACETIMES = [
    fd.Spacetime.sgd(12, 4, 2),
    fd.Spacetime.sgd(24, 4),
    fd.Spacetime.sgd(12, 4, T=STEPS, sampling="with-replacement"),
    fd.Spacetime.gd(12, STEPS),
]


@pytest.fixture(scope="module")
def start():
    """An MLP on 60 images of three digits at random initialisation, in double precision."""
    images, labels = digits()
    few = np.flatnonzero(labels < 3)[:60]
    model = tanh_mlp((8, 8), 3, hidden=(6,))
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(float), model.init(jax.random.key(0)))
        yield Landscape(cross_entropy(model), (np.asarray(images[few], float), labels[few])), params


@pytest.fixture(scope="module")
def effects(start):
    """Anchored runs with one set of draws at several learning rates."""
    options = {"steps": STEPS, "epoch_lengths": [3], "num_samples": 400, "truncation_samples": 0}
    return [fd.anchor(*start, learning_rate=float(rate), key=jax.random.key(1), **options) for rate in RATES]


def of_second_order_in_the_noise(diagram):
    """Whether exactly two nodes other than the root are tied, which is one covariance of the noise."""
    return sorted(len(part) for part in diagram.parts)[-2:] == [1, 2]


@pytest.mark.parametrize("spacetime", SPACETIMES, ids=str)
def test_digits(start, effects, spacetime):
    series = fd.expand("test_loss", order=3, spacetime=spacetime, basis="cumulant")
    tied = [diagram for diagram in series if of_second_order_in_the_noise(diagram)]
    values = fd.evaluate(tied, *start, basis="cumulant", key=jax.random.key(2), replicates=64)
    replicates = []
    for anchored, rate in zip(effects, RATES, strict=True):
        replicates.append(anchored.predict(spacetime).replicates[:, -1] / rate**2)
    # Draws are smooth functions of the learning rate: a parabola through three gives the coefficients of η² and η³.
    found = np.polynomial.polynomial.polyfit(RATES, np.array(replicates), 2)
    for order in (2, 3):
        own = [diagram for diagram in tied if diagram.order == order]
        expected = sum(float(series[diagram]) * values[diagram].value for diagram in own)
        noise = sum(float(series[diagram]) ** 2 * (values[diagram].stderr or 0) ** 2 for diagram in own) ** 0.5
        rows = found[order - 2]
        stderr = np.hypot(rows.std(ddof=1) / len(rows) ** 0.5, noise)
        assert stderr < 0.1 * abs(expected)
        assert abs(rows.mean() - expected) <= 4 * stderr
