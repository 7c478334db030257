"""Do other forms of a truncated series reach further? Errors against simulations beyond the range of the plain one."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import feyngd as fd
from feyngd.landscapes import Landscape, convnet, cross_entropy, digits, logistic_regression, tanh_mlp
from feyngd.prediction._exponential_form import exponential

warnings.simplefilter("ignore", fd.TruncationWarning)

BEYOND = np.array([1.0, 1.5, 2.0, 3.0, 4.0])  # in units of the rate at which order 3 is a fifth of order 2
EXAMPLES = 400

Form = Callable[[np.ndarray, np.ndarray], np.ndarray]


def plain(c: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Return the truncated series of the change, c₁η + c₂η² + c₃η³."""
    return c[1] * rate + c[2] * rate**2 + c[3] * rate**3


def pade_12(c: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Return the Padé approximant with numerator c₁η and a denominator of degree 2."""
    a, b = c[2] / c[1], c[3] / c[1]
    return c[1] * rate / (1 - a * rate + (a**2 - b) * rate**2)


def pade_21(c: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Return the Padé approximant with a numerator of degree 2 and a denominator of degree 1."""
    q = -c[3] / c[2]
    return (c[1] * rate + (c[2] + q * c[1]) * rate**2) / (1 + q * rate)


def ours(c: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Return the change by the form that predictions offer: A(exp(−bη) − 1) + Cη with the same three coefficients."""
    return exponential(c, rate) - c[0]


def power(steps: int) -> Form:
    """Return A((1 − bη)^(2T) − 1) + Cη: gradient descent's exact solution in one direction, the others linear."""

    def form(c: np.ndarray, rate: np.ndarray) -> np.ndarray:
        n = 2 * steps
        b = -3 * c[3] / c[2] / (n - 2)
        A = 2 * c[2] / (n * (n - 1) * b**2)
        return A * ((1 - b * rate) ** n - 1) + (c[1] + A * n * b) * rate

    return form


FORMS: dict[str, Callable[[int], Form]] = {
    "plain": lambda steps: plain,
    "Padé 1/2": lambda steps: pade_12,
    "Padé 2/1": lambda steps: pade_21,
    "power": power,
    "exponential": lambda steps: ours,
}


def errors(found: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return how far every form is from the simulation, at every learning rate."""
    coefficients, rates, change = (np.array(found[name]) for name in ("coefficients", "rates", "change"))
    return {name: np.abs(form(found["steps"])(coefficients, rates) - change) for name, form in FORMS.items()}


def apart(found: dict[str, Any]) -> np.ndarray:
    """Return how far our form and the plain series are apart, at every learning rate."""
    coefficients, rates = np.array(found["coefficients"]), np.array(found["rates"])
    return ours(coefficients, rates) - plain(coefficients, rates)


def problems() -> dict[str, tuple[Landscape, Any, fd.Spacetime]]:
    """Return networks at random starts and after some descent, with short and longer runs."""
    images, labels = digits(EXAMPLES)
    networks = {
        "logistic": logistic_regression((8, 8), 10),
        "mlp": tanh_mlp((8, 8), 10),
        "deep mlp": tanh_mlp((8, 8), 10, (20, 20)),
        "convnet": convnet((8, 8), 10),
    }
    found = {}
    for seed, (name, network) in enumerate(networks.items()):
        landscape = Landscape(cross_entropy(network), (images, labels))
        params = network.init(jax.random.key(seed))
        found[f"{name}, 10 steps"] = landscape, params, fd.Spacetime.sgd(N=10, B=1, E=1)
        found[f"{name}, 20 points, 3 epochs"] = landscape, params, fd.Spacetime.sgd(N=20, B=4, E=3)
        found[f"{name} after descent, 10 steps"] = landscape, descended(landscape, params), fd.Spacetime.sgd(N=10, B=1)
    return found


def descended(landscape: Landscape, params: Any, steps: int = 60, rate: float = 0.3) -> Any:
    """Return the parameters after some full-batch gradient descent."""
    slope = jax.jit(jax.grad(landscape.mean_loss))
    for _ in range(steps):
        params = jax.tree.map(lambda p, g: p - rate * g, params, slope(params))
    return params


def all_problems() -> dict[str, dict[str, Any]]:
    """Return what `measured` finds for every problem."""
    return {name: measured(*problem) for name, problem in problems().items()}


def measured(landscape: Landscape, params: Any, spacetime: fd.Spacetime, runs: int = 2000) -> dict[str, Any]:
    """Return the coefficients of a prediction and what SGD does beyond its range."""
    keys = jax.random.split(jax.random.key(7))
    prediction = fd.predict(landscape, params, spacetime, [1e-6], replicates=64, key=keys[0])
    coefficients = prediction.coefficients.mean(axis=0)
    rates = BEYOND * 0.2 * abs(coefficients[2] / coefficients[3])
    simulation = fd.simulate(landscape, params, spacetime, rates, runs=runs, chunk_size=64, key=keys[1])
    return {
        "coefficients": coefficients.tolist(),
        "rates": rates.tolist(),
        "change": (simulation.mean - coefficients[0]).tolist(),
        "stderr": simulation.stderr.tolist(),
        "steps": int(spacetime.T),
    }
