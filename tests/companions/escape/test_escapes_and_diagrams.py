"""Where escapes meet the diagrams: the spread that a box sees, and what no order of a series knows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions import escape as esc
from feyngd.landscapes import toys

KEY = jax.random.key(0)


def test_the_spread_of_a_box_is_that_of_the_resummed_diagram():
    """v = ηC/(2BH(1 − ηH/2)), of the box in steps of finite length, is the variance that steps of SGD settle at."""
    rate, curvature, noise, batch = 0.3, 1.5, 2.0, 4
    spread = rate * noise / (2 * batch * curvature * (1 - rate * curvature / 2))
    # The re-summed [a a]: Σ_t (1 − ηH)^{2t} η²C/B.
    steps = (1 - rate * curvature) ** (2 * np.arange(200))
    assert rate**2 * noise / batch * steps.sum() == pytest.approx(spread, rel=1e-12)
    bowl, centre = toys.quadratic([[curvature]], covariance=[[noise]])
    times = [esc.box_exit_time(bowl, centre, r, esc.sgd(batch), rate).log_time[0] for r in (4.0, 5.0)]
    wide = np.array([4.0, 5.0]) + 0.5825971579 * rate * (noise / batch) ** 0.5
    # log T grows like r²/2v − 2 log r, up to v/r².
    assert np.diff(times)[0] == pytest.approx(
        np.diff(wide**2)[0] / (2 * spread) - 2 * np.diff(np.log(wide))[0], rel=0.01
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Escape time")  # an exponent of 5.5 from the shallow well
def test_near_minimum_does_not_know_of_escapes():
    """Tie 3 of the specification: two states and their rates follow real runs, and `near_minimum` stays behind."""
    landscape, start = toys.double_well(0.03, 1.0)
    path = esc.find_path(landscape, -start, start, key=KEY)
    noise, legs = esc.sgd(1, model="cumulants"), (path.legs[0], path.reversed().legs[0])
    rates = [esc.escape_time(landscape, leg, noise, 0.08).rate[0] for leg in legs]
    horizon = esc.horizon(landscape, legs[0], noise, 0.08, fraction=0.01)[0]
    assert horizon == pytest.approx(-np.log(0.99) / rates[0])
    space = fd.Spacetime.sgd(2000)
    shallow, deep = (
        fd.near_minimum(landscape, jnp.asarray(float(point.params)), key=KEY).predict(space, 0.08).mean[0]
        for point in (path.legs[0].minimum, path.legs[0].far)
    )
    assert shallow == pytest.approx(-0.1986, abs=1e-3)
    gone = rates[0] / sum(rates) * -np.expm1(-sum(rates) * np.array([2000, 8000, 20_000]))
    mixture = shallow + gone * (deep - shallow)
    simulated = np.array([-0.2043, -0.2172, -0.2354])
    assert np.all(np.abs(mixture - simulated) <= 3 * 0.0014 + 0.004)
    assert np.all(np.abs(shallow - simulated[1:]) > 3 * 0.0014 + 0.004)
