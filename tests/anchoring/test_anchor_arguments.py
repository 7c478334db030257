"""What `anchor` and `Anchored.predict` refuse, with the cause and the cure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd import Spacetime
from feyngd.anchoring import InterruptedWarning, anchor, noise_weights
from feyngd.anchoring.path import _memory
from feyngd.anchoring.path._noiseless_path import NoiselessPath
from feyngd.progress import Progress

KEY, START = jax.random.key(0), jnp.array(2.0)


def square(theta, x):
    return (theta - x) ** 2


def landscape(reading="population"):
    test = np.array([0.0, 1.0]) if reading == "conditional" else None
    return fd.Landscape(square, np.array([-1.0, 0.0, 0.5, 1.0]), test, reading=reading)


def anchored(reading="population", **options):
    least = {"num_samples": 2, "truncation_samples": 0, "control_directions": 0}
    options = least | {"steps": 4, "learning_rate": 0.1, "key": KEY} | options
    return anchor(landscape(reading), START, **options)


@pytest.fixture(scope="module")
def made():
    return {reading: anchored(reading, steps=6, epoch_lengths=[2]) for reading in ("population", "conditional")}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"reading": "unbiased"}, "'population' and 'conditional'; got 'unbiased'"),
        ({"steps": 0}, "steps is an integer ≥ 1, got 0"),
        ({"steps": 2.5}, r"steps is an integer ≥ 1, got 2\.5"),
        ({"learning_rate": [0.1, 0.2]}, "one for each of 4 steps; got 2"),
        ({"learning_rate": [0.1] * 5}, "one for each of 4 steps; got 5"),
        ({"learning_rate": -0.1}, r"got -0\.1"),
        ({"learning_rate": "fast"}, "positive numbers, got 'fast'"),
        ({"epoch_lengths": [2, 0]}, "epoch_lengths is an integer ≥ 1, got 0"),
        ({"epoch_lengths": 2}, "epoch_lengths is a list of numbers of steps"),
        ({"num_samples": 1}, "num_samples is an integer ≥ 2, got 1"),
        ({"noise_examples": 1}, "noise_examples is an integer ≥ 2, got 1"),
        ({"curvature_examples": 0}, "curvature_examples is an integer ≥ 2, got 0"),
        ({"control_directions": -1}, "control_directions is an integer ≥ 0, got -1"),
        ({"control_directions": 1.5}, "control_directions is an integer ≥ 0, got 1.5"),
        ({"truncation_samples": -1}, "truncation_samples is an integer ≥ 0, got -1"),
        ({"chunk_size": 0}, "chunk_size is an integer ≥ 1, got 0"),
        ({"key": None}, r"give key=jax\.random\.key\(seed\), not None"),
        ({"key": 3}, r"give key=jax\.random\.key\(3\), not 3"),
    ],
    ids=str,
)
def test_options_that_are_refused(options, match):
    with pytest.raises(fd.ArgumentError, match=match):
        anchored(**options)


def test_full_batches_have_no_epochs(made):
    with pytest.raises(fd.ArgumentError, match="Full batches count steps: give T, not E; got E=2"):
        made["population"].predict(N=4, E=2, sampling="full-batch")


def test_arguments_of_the_wrong_kind():
    with pytest.raises(TypeError, match="key"):
        anchor(landscape(), START, steps=4, learning_rate=0.1)
    with pytest.raises(fd.ArgumentError, match="got str"):
        anchor("landscape", START, steps=4, learning_rate=0.1, key=KEY)
    with pytest.raises(fd.LandscapeError, match="int32"):
        anchor(landscape(), jnp.array(2), steps=4, learning_rate=0.1, key=KEY)


def test_a_diverging_path_names_the_step_and_a_stable_rate():
    """The curvature is 2, so that learning rates below 1 are stable."""
    with pytest.raises(fd.LandscapeError) as refused:
        anchored(steps=100, learning_rate=30.0)
    losses, distance = [], np.float32(2.0 - 0.125)
    with np.errstate(over="ignore"):
        while not losses or np.isfinite(losses[-1]):
            losses.append(distance**2)
            distance = distance * np.float32(-59)
    text = str(refused.value)
    assert f"at step {len(losses) - 1} of 100, with the learning rate 30." in text
    assert "about 1 at the start: take a smaller learning rate" in text


def test_curves_that_are_not_anchored(made):
    population, conditional = made["population"], made["conditional"]
    symbol = sympy.Symbol("N", integer=True, positive=True)

    def refused(match, predict, *given, error=fd.SpacetimeError, **sizes):
        with pytest.raises(error, match=match):
            predict(*given, **sizes)

    refused(
        "'loss'.*'test_loss', 'train_loss', 'gap'", population.predict, N=4, quantity="loss", error=fd.ArgumentError
    )
    refused("Give N", population.predict, B=2, error=fd.ArgumentError)
    for predict in (population.predict, lambda *given, **sizes: population.orders(*given, key=KEY, **sizes)):
        refused(r"makes 8 steps, and 6 were anchored.*take E ≤ 3", predict, N=4, B=2, E=4)
        refused("only on a concrete spacetime; replace N with numbers", predict, Spacetime.sgd(symbol))
    refused(
        r"epochs of 3 steps \(epoch of 3 steps\), and anchored are \[2\]: give epoch_lengths",
        population.predict,
        N=6,
        B=2,
    )
    fixed = {"N": 4, "B": 2, "sampling": "fixed"}
    refused("give epoch_lengths and fixed_order to anchor", population.predict, **fixed)
    refused("anchored are none", anchored().predict, N=4, B=2, E=2)
    refused("explicit batches in the population reading", population.predict, Spacetime.from_batches([[0], [1]], N=2))
    for given in (Spacetime.sgd(4, sampling="fixed"), Spacetime.from_batches([[0], [1]], N=4)):
        refused("use sampling='reshuffled' or 'with-replacement'", conditional.predict, given)
        refused("use reshuffled, with-replacement or full batches", noise_weights, given, "conditional")
    refused("N = 4, the number of examples; got N=2", conditional.predict, N=2)


def test_orders_that_are_refused(made):
    for options, match in (
        ({"order": 1}, "order is an integer ≥ 2"),
        ({"num_samples": 1}, "num_samples is an integer ≥ 2"),
        ({"key": None}, "give key="),
    ):
        with pytest.raises(fd.ArgumentError, match=match):
            made["population"].orders(**({"N": 4, "B": 2, "key": KEY} | options))


def test_no_steps_leave_the_start(made):
    for reading, start in (("population", 4.0625), ("conditional", 2.5)):
        curve = made[reading].predict(N=4, E=0)
        assert (len(curve.times), curve.mean.tolist(), curve.stderr.tolist()) == (1, [start], [0.0])
        curve = made[reading].orders(N=4, E=0, order=3, num_samples=2, key=KEY)
        assert (curve.mean.tolist(), curve.stderr.tolist()) == ([start], [0.0])


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_refused_since_it_loses_updates(dtype):
    with pytest.raises(fd.LandscapeError, match=r"What is anchored would not hold for params in b?float16"):
        anchor(landscape(), jnp.array(2.0, dtype), steps=3, learning_rate=0.1, key=KEY)


def test_curves_are_predicted_in_single_precision():
    made = anchor(
        landscape(),
        jnp.array(2.0, jnp.float32),
        steps=3,
        learning_rate=0.1,
        num_samples=8,
        truncation_samples=0,
        key=KEY,
    )
    curve = made.predict(N=4, B=4, sampling="with-replacement")
    assert np.isfinite(curve.mean).all()
    assert curve.noiseless[-1] == pytest.approx(0.546875 + 1.875**2 * 0.8**6, rel=1e-2)


@pytest.mark.slow
def test_single_precision_where_double_is_the_default():
    """Parameters whose precision is not that of new arrays, with everything that is computed, and without controls."""
    with jax.enable_x64(True):
        options = {"steps": 3, "learning_rate": 0.1, "num_samples": 8, "control_directions": 0, "key": KEY}
        made = anchor(landscape(), jnp.array(2.0, jnp.float32), truncation_samples=2, **options)
        assert np.isfinite(made.predict(N=4, B=4, sampling="with-replacement").truncation).all()
        assert np.isfinite(made.orders(N=4, B=2, order=3, num_samples=2, T=2, key=KEY).mean).all()


def test_too_little_memory_is_said_before_anything_runs(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 64)
    with pytest.raises(fd.ArgumentError, match=r"1 parameters and 8 runs.*give fewer epoch_lengths"):
        anchored()
    monkeypatch.setattr(_memory, "available_memory", lambda: 3 * 8 * 4 * 16 * 2)
    assert _memory.runs_together(1, 4, 8) == 24

    def pilots(*_):
        pytest.fail("pilots need as much memory as four draws")

    monkeypatch.setattr(NoiselessPath, "control_variates", pilots)
    assert len(anchored(control_directions=16).influence) == 2
    made = anchored(num_samples=7)
    assert len(made.influence) == 7


class Stops(Progress):
    """Interrupts when a number of draws is done."""

    def __init__(self, stop):
        self._stop, self._done = stop, 0

    def task(self, total, label):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def advance(self, count=1):
        self._done += count
        if self._done >= self._stop:
            raise KeyboardInterrupt


def test_an_interruption_keeps_what_is_finished(monkeypatch):
    with pytest.warns(InterruptedWarning, match="after 48 of 96 draws"):
        made = anchored(num_samples=96, progress=Stops(40))
    assert len(made.influence) == 48
    np.testing.assert_array_equal(made.influence, anchored(num_samples=96).influence[:48])
    assert np.isfinite(made.predict(N=4).stderr).all()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(NoiselessPath, "higher_orders", interrupted)
    with pytest.warns(InterruptedWarning, match="truncation figure"):
        unsure = anchored(truncation_samples=2).predict(N=4)
    assert np.isfinite(unsure.mean).all()
    assert np.isnan(unsure.truncation).all()
    assert not unsure.converged.any()

    monkeypatch.setattr(NoiselessPath, "second_order", interrupted)
    with pytest.raises(KeyboardInterrupt):
        anchored()


@pytest.mark.parametrize(
    ("toy", "offset", "rate"),
    [
        ("mean_estimation", 1.0, 2.1),  # |1 − ηh| is 1.1, and all is finite
        ("cosh", 1.0, 2.5),
    ],
)
def test_a_path_that_rises_is_refused_although_it_is_finite(toy, offset, rate):
    made, start = getattr(fd.landscapes.toys, toy)()
    with pytest.raises(fd.LandscapeError, match=r"The noiseless path diverges: .* stable below 2/h"):
        anchor(made, start + offset, steps=4, learning_rate=rate, num_samples=2, truncation_samples=2, key=KEY)


def test_a_classifier_that_is_thrown_about_is_refused():
    """At η = 1000 its losses stay finite, and −2e14 was printed as the prediction."""
    made, start = fd.landscapes.digits_landscape("logistic", 60, key=KEY)
    with pytest.raises(fd.LandscapeError, match="rises from"):
        anchor(made, start, steps=10, learning_rate=1000.0, num_samples=2, key=KEY)


@pytest.mark.parametrize("toy", ["cosh", "mean_estimation", "cubic_valley"])
def test_a_path_that_stands_still_at_a_minimum_is_not_refused(toy):
    made, start = getattr(fd.landscapes.toys, toy)()
    path = NoiselessPath(made, start, np.full(20, 0.3), 8, 64, 64)
    path.check_path()


def test_descent_above_the_edge_that_finds_flatter_ground_goes_on():
    """log cosh is flat far out: from 0.3 a rate above 2/h jumps about, and ends below a start that is far up."""
    made = fd.Landscape(lambda theta, x: jnp.log(jnp.cosh(theta)) + 0.0 * x, np.array([-1.0, 1.0]))
    NoiselessPath(made, jnp.array(3.0), np.full(6, 2.2), 8, 64, 64).check_path()


def test_learning_rates_of_zero_in_a_schedule():
    """With a cosine that ends at zero nothing moves in the last step; without any all of it is refused."""
    made, start = fd.landscapes.toys.cosh()
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(5) / 4))
    assert rates[-1] == 0
    curve = anchor(made, start + 1.0, steps=5, learning_rate=rates, num_samples=4, key=KEY).predict(N=5)
    assert curve.mean[-1] == pytest.approx(curve.mean[-2], rel=1e-6)
    with pytest.raises(fd.ArgumentError, match="some of them zero"):
        anchor(made, start + 1.0, steps=2, learning_rate=[0.0, 0.0], key=KEY)
