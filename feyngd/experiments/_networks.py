"""What the experiments on networks share: the convnet at random starts, differences of predictions, paired runs."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..diagrams import diagrams
from ..estimates import TruncationWarning
from ..evaluation import Values, evaluate
from ..landscapes import Landscape, Model, convnet, cross_entropy
from ..prediction import Prediction, predict
from ..progress import Progress
from ..spacetimes import Spacetime
from ._experiment import Setting

ORDER = 3
COLOURS = {1: "#E69F00", 2: "#56B4E9", 3: "#0072B2"}  # Okabe and Ito's, by order, as in figures of predictions
START_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_CLASSES = 10  # of digits, CIFAR-10 and Fashion-MNIST alike
_QUICK_IMAGES = 100
_BLOCK = 256  # runs between two reports of progress

Slope = Callable[[Any, Any, Any], Any]


def convnet_at_starts(setting: Setting, count: int) -> tuple[Landscape, list[Any]]:
    """Return the convnet's landscape on the images, a hundred of them if quick, and random Glorot starts."""
    images, labels = images_for(setting)
    network, loss = network_of(convnet, np.shape(images)[1:])
    landscape = Landscape(loss, (images, labels))
    starts = [network.init(key) for key in jax.random.split(jax.random.fold_in(setting.key, 0), count)]
    for start in starts:
        landscape.validate(start)
    return landscape, starts


def images_for(setting: Setting) -> tuple[Any, Any]:
    """Return the images and labels, a hundred of them if quick."""
    images, labels = setting.images
    used = _QUICK_IMAGES if setting.quick else len(images)
    return images[:used], labels[:used]


@cache
def network_of(model: Callable[..., Model], shape: tuple[int, ...]) -> tuple[Model, Callable[[Any, Any], Any]]:
    """Return a network and its loss, the same objects in every experiment, for which compiled programs are kept."""
    network = model(shape, _CLASSES)
    return network, cross_entropy(network)


def values_at(landscape: Landscape, start: Any, setting: Setting, key: jax.Array, *, gap: bool = False) -> Values:
    """Return the values that predict the test loss, and the gap if asked for, on any spacetime."""
    wanted = [diagram for order in range(ORDER + 1) for diagram in diagrams(order, root_tied=gap)]
    return evaluate(
        wanted,
        landscape,
        start,
        estimator="pairing" if setting.quick else "auto",  # the others take several times as long to compile
        replicates=16,
        check_dtype=not setting.quick,
        progress=setting.progress,
        key=key,
    )


def prediction_from(
    values: Values,
    landscape: Landscape,
    start: Any,
    spacetime: Spacetime,
    rates: Sequence[float],
    quantity: str = "test_loss",
) -> Prediction:
    """Predict from values, without warnings: the figure shows where the series has not converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        return predict(landscape, start, spacetime, rates, order=ORDER, quantity=quantity, values=values)


def difference(one: Prediction, other: Prediction) -> Prediction:
    """Return the prediction of a difference; its errors allow for the replicates and samples that both share."""
    coefficients = one.coefficients - other.coefficients
    rounding = None if one.rounding is None or other.rounding is None else one.rounding - other.rounding
    trees = None if one.trees is None or other.trees is None else one.trees - other.trees
    return Prediction(one.quantity, one.spacetime, one.learning_rates, coefficients, rounding, trees=trees)


def rates_up_to(edge: float, fractions: Sequence[float]) -> list[float]:
    """Return learning rates at fractions of an edge of validity, to three digits."""
    return [float(f"{fraction * edge:.3g}") for fraction in fractions]


class Runs:
    """Runs of an optimizer on a landscape in double precision: differences of their ends may be tiny.

    What is compiled serves all starts, so one object is made for all runs that differ in the start alone.

    Args:
        landscape: the landscape, in the population reading.
        slope: `slope(params, batch, rate)`, what a step goes down; by default the gradient of the batch's mean loss,
            which is SGD.
    """

    def __init__(self, landscape: Landscape, slope: Slope | None = None) -> None:
        self._data, loss = landscape.data, landscape.loss

        def mean_loss(params: Any, batch: Any) -> jax.Array:
            return jnp.mean(jax.vmap(partial(loss, params))(batch))

        def end(data: Any, start: Any, rate: jax.Array, run: jax.Array) -> jax.Array:
            def step(params: Any, points: jax.Array) -> tuple[Any, None]:
                batch = jax.tree.map(lambda leaf: leaf[points], data)
                down = jax.grad(mean_loss)(params, batch) if slope is None else slope(params, batch, rate)
                return jax.tree.map(lambda p, g: p - rate * g, params, down), None

            return mean_loss(jax.lax.scan(step, start, run)[0], data)

        def ends(data: Any, start: Any, rate: jax.Array, runs: jax.Array) -> jax.Array:
            together = 16 if runs.shape[-1] < 8 else 1  # one run of large batches uses the whole machine
            return jax.lax.map(partial(end, data, start, rate), runs, batch_size=together)

        self._ends = jax.jit(ends)

    def ends(
        self, start: Any, rates: Sequence[float], batches: np.ndarray, *, label: str, progress: Progress
    ) -> np.ndarray:
        """Return the test loss at the end of every run, in the unit of the loss, shape (rates, draws, runs).

        Args:
            start: the parameters at the start.
            rates: the learning rates.
            batches: indices of examples, shape (draws, runs, T, B).
            label: what the progress is labelled with.
            progress: shows progress.
        """
        flat = batches.reshape(-1, *batches.shape[2:])
        size = min(len(flat), _BLOCK)
        found = np.empty((len(rates), len(flat)))
        with jax.enable_x64(True), progress.task(len(rates) * len(flat), label) as task:
            data, first = jax.tree.map(_double, (self._data, start))
            for row, rate in enumerate(rates):
                for begin in range(0, len(flat), size):
                    block = np.minimum(np.arange(begin, begin + size), len(flat) - 1)  # filled up: one shape
                    real = min(size, len(flat) - begin)
                    found[row, begin : begin + real] = self._ends(data, first, rate, flat[block])[:real]
                    task.advance(real)
        return found.reshape(len(rates), *batches.shape[:2])


def _double(leaf: Any) -> jax.Array:
    array = np.asarray(leaf)
    return jnp.asarray(array, dtype=np.float64 if np.issubdtype(array.dtype, np.floating) else array.dtype)
