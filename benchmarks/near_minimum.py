"""Re-summed predictions at trained minima of digits models against simulated SGD, where the plain series diverges.

`python benchmarks/near_minimum.py [logistic] [mlp] [convnet] [drift]` prints tables; the convnet takes an hour.
"""

import sys
import time
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from problems import MODELS, Problem, num_params
from scipy.optimize import minimize

import feyngd as fd
from feyngd.landscapes import Landscape, cross_entropy, digits, logistic_regression
from feyngd.minima import DenseMinimum

PENALTY = 0.01
RUNS = {"logistic": 2000, "mlp": 1000, "convnet": 300}
SPACETIMES = (
    fd.Spacetime.sgd(400, 8, 5),
    fd.Spacetime.sgd(400, 20, 10, sampling="with-replacement"),
    fd.Spacetime.sgd(1000, 50, 20),
    fd.Spacetime.gd(200, 200),
)
PATHS = (0.5, 1.0, 2.0)  # ηh for the greatest curvature, times ten
COMPONENTS = 7  # of the digits, for the drift: tensors of p³ numbers


def penalized(name: str) -> Landscape:
    """Return the landscape of a network on all digits with a penalty λ/2 ‖θ‖² in every example's loss."""
    plain = cross_entropy(MODELS[name]())

    def loss(params: Any, example: Any) -> jax.Array:
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return plain(params, example) + PENALTY / 2 * squares

    return Landscape(loss, digits())


def minimum(landscape: Landscape, params: Any) -> Any:
    """Return the parameters where descent by L-BFGS ends."""
    theta, unravel = jax.flatten_util.ravel_pytree(params)
    both = jax.jit(jax.value_and_grad(lambda theta: landscape.mean_loss(unravel(theta))))
    found = minimize(
        lambda x: [np.asarray(part, dtype=float) for part in both(jnp.asarray(x))],
        np.asarray(theta),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 3000, "maxfun": 6000, "ftol": 1e-15, "gtol": 1e-8},
    )
    return unravel(jnp.asarray(found.x))


def trained(name: str) -> Problem:
    """Return a penalized network at a minimum."""
    landscape = penalized(name)
    params = jax.tree.map(lambda leaf: leaf.astype(float), MODELS[name]().init(jax.random.key(0)))
    return landscape, minimum(landscape, params)


def tables(name: str) -> None:
    """Print predictions and simulations of a network, and what the plain series of order 3 says."""
    start = time.perf_counter()
    landscape, params = trained(name)
    gradient = jax.flatten_util.ravel_pytree(jax.grad(landscape.mean_loss)(params))[0]
    print(f"\n## {name}, {num_params(params)} parameters, |G| = {jnp.linalg.norm(gradient):.2g}, ", end="")
    print(f"trained in {time.perf_counter() - start:.0f} s")
    start = time.perf_counter()
    near = fd.near_minimum(landscape, params, key=jax.random.key(1))
    print(f"{near}, measured in {time.perf_counter() - start:.0f} s", flush=True)
    values = None
    for spacetime in SPACETIMES:
        rates = np.array(PATHS) / 10 / near.point.curvatures[1]
        if values is None:
            series = [fd.expand(quantity, order=3, spacetime=spacetime) for quantity in ("test_loss", "gap")]
            wanted = sorted({diagram for one in series for diagram in one})
            values = fd.evaluate(wanted, landscape, params, key=jax.random.key(2))
        print(f"ηT·h_max = {', '.join(f'{rate * int(spacetime.T) * near.point.curvatures[1]:.0f}' for rate in rates)}")
        for quantity in ("test_loss", "gap"):
            row(near, landscape, params, spacetime, rates, quantity, values, RUNS[name])


def drift(runs: int = 20_000) -> None:
    """Print the drift of logistic regression on principal components of the digits, predicted and simulated.

    The predicted direction is compared along itself and, by χ², in all directions.
    """
    images, labels = digits()
    flat = np.asarray(images, dtype=float).reshape(len(images), -1)
    components = (flat - flat.mean(axis=0)) @ np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[2].T
    model = logistic_regression((COMPONENTS,), 10)
    plain = cross_entropy(model)

    def loss(params: Any, example: Any) -> jax.Array:
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return plain(params, example) + PENALTY / 2 * squares

    landscape = Landscape(loss, (components[:, :COMPONENTS], labels))
    params = jax.tree.map(lambda leaf: leaf.astype(float), model.init(jax.random.key(0)))
    params = minimum(landscape, params)
    near = DenseMinimum(landscape, params)
    print(f"\n## drift, {len(near.eigenvalues)} parameters, curvatures up to {near.eigenvalues[-1]:.2g}")
    for spacetime in (fd.Spacetime.sgd(200, 4, 4), fd.Spacetime.gd(50, 200)):
        for rate in 1 / near.eigenvalues[-1] * np.array([0.05, 0.1]):
            moved = near.displacement(spacetime, rate)
            ends = displacements(landscape, params, spacetime, rate, runs)
            mean, spread = ends.mean(axis=0), np.cov(ends.T) / runs
            size = moved @ moved
            ratio, error = mean @ moved / size, (moved @ spread @ moved) ** 0.5 / size
            gap = mean - moved
            chi = gap @ np.linalg.pinv(spread, rcond=1e-9, hermitian=True) @ gap
            path = rate * int(spacetime.T) * near.eigenvalues[-1]
            print(
                f"| {spacetime} | ηT·h_max = {path:.0f} | |drift| {size**0.5:.4g} | simulated/predicted "
                f"{ratio:.3f} ± {error:.3f} | χ² {chi:.0f} of {len(gap)} |",
                flush=True,
            )


def displacements(landscape: Landscape, params: Any, spacetime: fd.Spacetime, rate: float, runs: int) -> np.ndarray:
    """Return θ_T − θ_0 of independent runs, shape (runs, p)."""
    theta, loss = landscape.flatten(params)
    N = int(spacetime.N)
    rng = np.random.default_rng(4)
    slots = np.asarray(spacetime.sample(rng, runs))
    sets = rng.integers(0, landscape.num_examples, size=(runs, N))
    batches = sets[np.arange(runs)[:, None, None], slots].astype(np.int32)

    @jax.jit
    def ends(batches: jax.Array) -> jax.Array:
        def run(own: jax.Array) -> jax.Array:
            def step(point: jax.Array, batch: jax.Array) -> tuple[jax.Array, None]:
                examples = jax.tree.map(lambda leaf: jnp.asarray(leaf)[batch], landscape.data)
                slope = jax.grad(lambda point: jnp.mean(jax.vmap(loss, (None, 0))(point, examples)))(point)
                return point - rate * slope, None

            return jax.lax.scan(step, theta, own)[0] - theta

        return jax.lax.map(run, batches, batch_size=100)

    return np.concatenate([np.asarray(ends(part)) for part in np.array_split(batches, 10)])


def row(
    near: fd.NearMinimum,
    landscape: Landscape,
    params: Any,
    spacetime: fd.Spacetime,
    rates: np.ndarray,
    quantity: str,
    values: Any,
    runs: int,
) -> None:
    """Print what SGD adds to the quantity at the start: predicted, simulated, and how far off both series are."""
    start = time.perf_counter()
    ours = near.predict(spacetime, rates, quantity=quantity)
    took = time.perf_counter() - start
    plain = fd.predict(landscape, params, spacetime, rates, order=3, quantity=quantity, values=values)
    run = fd.simulate(landscape, params, spacetime, rates, runs=runs, quantity=quantity, key=jax.random.key(3))
    added = run.mean - ours.start
    for i, rate in enumerate(rates):
        off = (plain.mean[i] - ours.start) / added[i] - 1
        ratio = (ours.mean[i] - ours.start) / added[i] - 1
        print(
            f"| {quantity} | {spacetime} | {rate:.4g} | {ours.mean[i] - ours.start:.5g} ± {ours.stderr[i]:.1g} "
            f"± {ours.truncation[i]:.1g} | {added[i]:.5g} ± {run.stderr[i]:.1g} | {ratio:+.1%} | {off:+.3g} | "
            f"{took:.1f} s |",
            flush=True,
        )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore", fd.TruncationWarning)
    for name in sys.argv[1:] or ("logistic", "mlp", "drift"):
        drift() if name == "drift" else tables(name)
