"""Every result that uses derivatives of a loss with kinks carries them, says so and claims nothing."""

import jax
import jax.numpy as jnp
import pytest

import feyngd as fd
from feyngd.kinks import SmoothnessWarning
from feyngd.landscapes import Landscape
from feyngd.training import aic, stic, tic

KEY = jax.random.key(0)
DATA = (jax.random.normal(KEY, (20, 3)), jnp.linspace(-1, 1, 20))
PARAMS = jax.random.normal(jax.random.key(1), (3, 2))
SPACETIME = fd.Spacetime.sgd(4, 2)

pytestmark = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")


def loss_with(activation):
    def loss(params, example):
        x, y = example
        return 0.5 * (jnp.sum(activation(x @ params)) - y) ** 2

    return loss


KINKED, SMOOTH = Landscape(loss_with(jax.nn.relu), DATA), Landscape(loss_with(jnp.tanh), DATA)


def predicted(landscape):
    return fd.predict(landscape, PARAMS, SPACETIME, [1e-5, 1e-3], order=2, key=KEY)


def anchored(landscape):
    options = {"steps": 2, "learning_rate": 1e-3, "num_samples": 2, "truncation_samples": 2, "key": KEY}
    return fd.anchor(landscape, PARAMS, **options).predict(N=4, B=2, E=1)


def near_minimum(landscape):
    return fd.near_minimum(landscape, PARAMS, num_samples=2, key=KEY).predict(SPACETIME, [1e-3])


@pytest.mark.parametrize("make", [predicted, anchored, near_minimum])
def test_predictions_claim_nothing(make):
    with pytest.warns(SmoothnessWarning, match=r"relu at test_results_with_kinks\.py"):
        result = make(KINKED)
    assert [kink.operation for kink in result.kinks] == ["relu"]
    assert not result.converged.any()
    assert "not smooth: relu" in str(result)
    assert "relu" in result.to_dict()["kinks"][0]
    smooth = make(SMOOTH)
    assert smooth.kinks == ()
    assert "not smooth" not in str(smooth)
    assert smooth.to_dict()["kinks"] == []


def test_a_smooth_prediction_converges_where_one_with_kinks_does_not():
    assert predicted(SMOOTH).converged[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda landscape: stic(landscape, PARAMS, learning_rate=1e-3, steps=3),
        lambda landscape: tic(landscape, PARAMS, damping=100.0),
        lambda landscape: fd.evaluate(fd.diagrams(1), landscape, PARAMS, check_dtype=False),
    ],
)
def test_values_and_criteria_say_so(make):
    with pytest.warns(SmoothnessWarning):
        result = make(KINKED)
    assert result.kinks
    assert "not smooth" in str(result)
    assert make(SMOOTH).kinks == ()


def test_what_takes_no_derivatives_says_nothing():
    assert aic(KINKED, PARAMS).kinks == ()


def test_values_hand_their_kinks_on():
    with pytest.warns(SmoothnessWarning):
        values = fd.evaluate(fd.expand("test_loss", order=2, spacetime=SPACETIME), KINKED, PARAMS, key=KEY)
    prediction = fd.predict(KINKED, PARAMS, SPACETIME, 1e-5, order=2, values=values)
    assert prediction.kinks == values.kinks == next(iter(values.values())).kinks
    assert prediction.valid_up_to == 0


def test_a_comparison_of_a_prediction_with_kinks_does_not_pass():
    with pytest.warns(SmoothnessWarning):
        prediction = predicted(KINKED)
    simulation = fd.simulate(KINKED, PARAMS, SPACETIME, [1e-5, 1e-3], runs=8, key=KEY)
    assert not fd.compare(prediction, simulation).passed


@pytest.mark.parametrize("make", [predicted, anchored, near_minimum])
def test_figures_say_so(make):
    with pytest.warns(SmoothnessWarning):
        ax = make(KINKED).plot()
    assert any("not smooth" in label for label in ax.get_legend_handles_labels()[1])
    assert not any("not smooth" in label for label in make(SMOOTH).plot().get_legend_handles_labels()[1])
