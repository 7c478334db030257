"""The assumptions of the steady state: each fails where it should, and all hold where they do."""

import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions.data_averaging import assumptions
from feyngd.landscapes import toys

H = np.array([[2.0, 0.5], [0.5, 1.0]])
LONG = fd.Spacetime.sgd(N=10, B=2, T=500, sampling="with-replacement")


@pytest.mark.slow
def test_all_hold_where_noise_and_curvature_agree():
    found = assumptions(*toys.quadratic(H, H), LONG, 0.02)
    assert found.hold
    assert str(found) == "all assumptions hold"
    lowest, highest = np.linalg.eigvalsh(H)
    assert (found.damping, found.relaxations) == pytest.approx((0.02 * highest, 10 * lowest), rel=1e-5)


@pytest.mark.slow
def test_curl_is_found_where_noise_and_curvature_do_not_commute():
    landscape, start = toys.quadratic(H, np.array([[1.0, -0.4], [-0.4, 0.7]]))
    found = assumptions(landscape, start, LONG, 0.02)
    assert found.curl > 0.01
    assert "no curl" in str(found)


def test_each_fails_by_itself():
    line = fd.Landscape(lambda w, x: (w[0] - x) ** 2 / 2 + w[1] ** 2, jnp.array([-1.0, 1.0]))
    short = fd.Spacetime.sgd(N=10, B=2, E=2)
    found = assumptions(line, jnp.zeros(2), short, 0.1, optimizer=fd.momentum(0.5))
    assert (found.rank, found.curl) == (1, None)
    assert [words.split(":")[0] for words in found.failing] == [
        "noise in all directions",
        "no curl",
        "small steps",
        "stationary",
        "batches with replacement",
        "plain SGD at a constant rate",
    ]
    assert "rank 1 of 2" in str(found)
    with pytest.raises(fd.ArgumentError, match="up to 1,500 parameters"):
        assumptions(fd.Landscape(lambda w, x: jnp.sum(w**2) * x, jnp.ones(3)), jnp.zeros(1501), LONG, 0.1)
