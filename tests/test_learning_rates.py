"""The checks of learning rates: one, several, and those of a schedule."""

import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd._learning_rates import check_learning_rate, check_learning_rates


def test_zeros_are_learning_rates_of_a_schedule_alone():
    assert check_learning_rates([0.1, 0.0], schedule=True).tolist() == [0.1, 0.0]
    for bad in ([0.0, 0.0], [0.1, -0.1], [0.1, np.nan], 0.0):
        with pytest.raises(fd.ArgumentError, match="some of them zero"):
            check_learning_rates(bad, schedule=True)
    with pytest.raises(fd.ArgumentError, match="positive and finite, got 0"):
        check_learning_rates([0.1, 0.0])


@pytest.mark.parametrize("rate", [0.1, np.float32(0.5), jnp.array(0.25), 1])
def test_a_single_learning_rate(rate):
    assert check_learning_rate(rate) == pytest.approx(float(rate))


@pytest.mark.parametrize("rate", [0, -0.1, np.inf, np.nan, True, "0.1", None, [0.1], np.array([0.1])])
def test_what_is_no_single_learning_rate(rate):
    with pytest.raises(fd.ArgumentError, match="The learning rate is positive and finite, got"):
        check_learning_rate(rate)
