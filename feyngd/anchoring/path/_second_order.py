"""What noise does along the noiseless path to second order: first and second derivatives by ε, from few examples.

With batch losses l + ε F_t the iterate is a function of ε. At ε = 0 its first derivative a and its second derivative c
follow the noiseless path,

    θ_{t+1} = θ_t − η G
    a_{t+1} = a_t − η (H a_t + ∇F_t)
    c_{t+1} = c_t − η (H c_t + D³[a_t, a_t] + 2 ∇²F_t a_t)

with the gradient G, the Hessian H and the third derivative D³ of the mean loss l at θ_t. The second derivative of the
mean loss at the iterate is G·c_t + a_t·H a_t.

F_t is a sum over q random examples with random signs, drawn independently where steps are not tied. H and D³ are those
of m random examples, drawn independently in every step. They enter the second order linearly, so that this is unbiased,
except that the first derivative enters twice. So there are two copies of it, a and b, with the same noise and with
curvatures of their own. Only the path itself takes the gradient of the whole mean loss, and only the directions that
matter its whole curvature.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Shaped

from ..._mesh import ALONE, Devices
from ...derivatives import Loss, Sums, per_loss
from ._adjoints import Adjoints
from ._importance import ExampleSamplers, picked
from ._noise_directions import Directions
from ._shared_sums import SharedSums


class Draws(NamedTuple):
    """What a draw of noise adds to what is measured, and control variates of it with known means, as arrays.

    Attributes:
        train: the second derivative of the mean loss.
        test: the second derivative of the test loss; the same without test data.
        influence: ∂F_t(θ_t)/∂ε for the noise F_t.
        train_controls: two control variates of `train`, along a last axis: y·My, and u times a factor.
        test_controls: the same of `test`.
        influence_controls: one control variate of `influence`, y·E ∇F.
    """

    train: Any
    test: Any
    influence: Any
    train_controls: Any
    test_controls: Any
    influence_controls: Any


class _State(NamedTuple):
    """What a run carries from step to step.

    Attributes:
        a: ∂θ/∂ε, with one curvature.
        b: ∂θ/∂ε with the same noise and another curvature.
        c: ∂²θ/∂ε².
        y: the coordinates D_t δ of a first derivative δ that moves in the directions only, k of them.
        u: what J adjoints have read off the second derivative of that one.
    """

    a: Float[Array, "*runs params"]
    b: Float[Array, "*runs params"]
    c: Float[Array, "*runs params"]
    y: Float[Array, "*runs directions"]
    u: Float[Array, "*runs adjoints"]


class _PathStep(NamedTuple):
    """What all runs share in a step t.

    Attributes:
        theta: θ_t.
        gradient: G, the gradient of the mean loss there.
        test_gradient: the gradient of the test loss there; G without test data.
        rate: η of the step.
        time: t.
        adjoints: those of the step.
    """

    theta: Float[Array, " params"]
    gradient: Float[Array, " params"]
    test_gradient: Float[Array, " params"]
    rate: Float[Array, ""]
    time: Int[Array, ""]
    adjoints: Adjoints


class _Runs(NamedTuple):
    """What stays the same in all runs and steps.

    Attributes:
        sums: the loss.
        data: the examples of the mean loss.
        test_data: the examples of the test loss, or `None`.
        samplers: what examples are drawn from.
        directions: of all steps.
        noise: q, how many examples make the noise of a step; all of them if `None`.
        curvature: m, how many examples each curvature is averaged over; all of them if `None`.
    """

    sums: Sums
    data: PyTree
    test_data: PyTree
    samplers: ExampleSamplers
    directions: Directions
    noise: int | None
    curvature: int | None


@per_loss
def compiled_second_order(
    loss: Loss, noise: int | None, curvature: int | None, chunk_size: int, tested: bool, devices: Devices = ALONE
) -> Callable[..., tuple[Array, Array, Draws]]:
    """Compile runs along the noiseless path, R draws of noise for each of C columns of tied steps.

    Args:
        loss: `loss(params, example)`.
        noise: q, how many examples make the noise of a step; all of them if `None`.
        curvature: m, how many examples each run's curvature is averaged over; all of them if `None`.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.
        devices: those that share the runs, and the examples of the path.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, the labels of steps 0 to T,
        the same for those that are tied, what examples are drawn from, a key for every draw, directions, and adjoints.
        It returns for every t from 0 to T the mean loss, the test loss, and draws, shape (T + 1, R, C).
    """

    def second_order(
        params: PyTree,
        data: PyTree,
        test_data: PyTree,
        rates: Float[Array, " steps"],
        labels: Int[Array, "points columns"],
        samplers: ExampleSamplers,
        keys: Shaped[Array, "draws ..."],
        directions: Directions,
        adjoints: Adjoints,
    ) -> tuple[Float[Array, " points"], Float[Array, " points"], Draws]:
        sums = SharedSums(loss, params, chunk_size, devices)
        replicates, columns = len(keys), labels.shape[1]
        runs = _Runs(sums, data, test_data if tested else None, samplers, directions, noise, curvature)
        # A key for every run: that of its draw, with the number of its column.
        own = jax.vmap(lambda key: jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(columns)))(keys)
        own = devices.own(own.reshape(replicates * columns, *own.shape[2:]))

        def step(carry: tuple[Float[Array, " params"], _State], given: Any) -> Any:
            theta, state = carry
            rate, time, labels = given
            value, gradient = sums.mean_gradient(theta, data)
            test_value, test_gradient = sums.mean_gradient(theta, test_data) if tested else (value, gradient)
            here = _PathStep(theta, gradient, test_gradient, rate, time, adjoints.at(time))
            own_labels = devices.own(jnp.tile(labels, replicates))
            state, draws = jax.vmap(partial(_step, runs, here))(own, own_labels, state)
            return (theta - rate * gradient, state), (value, test_value, draws)

        wide, few = (
            jnp.zeros((len(own), size), sums.start.dtype) for size in (len(sums.start), directions.vectors.shape[1])
        )
        steps = jnp.append(rates, jnp.zeros((), rates.dtype)), jnp.arange(len(labels)), labels
        start = _State(a=wide, b=wide, c=wide, y=few, u=adjoints.nothing_read(len(own)))
        path, test_path, draws = jax.lax.scan(step, (sums.start, start), steps)[1]
        draws = devices.collected(draws, replicates * columns, axis=1)
        shape = len(labels), replicates, columns
        return path, test_path, jax.tree.map(lambda rows: rows.reshape(*shape, *rows.shape[2:]), draws)

    return devices.compiled(second_order)


def _step(
    runs: _Runs, here: _PathStep, key: PRNGKeyArray, label: Int[Array, ""], state: _State
) -> tuple[_State, Draws]:
    """Take a step of one run: measure, and move."""
    a, b, c, y, u = state
    sums, theta, rate, time = runs.sums, here.theta, here.rate, here.time
    now, following = runs.directions.at(time), runs.directions.at(time + 1)
    some = now.vectors.shape[0] > 0  # whether there are directions at all
    for_noise, for_curvature = jax.random.split(key)
    for_a, for_b, for_test = jax.random.split(jax.random.fold_in(for_curvature, time), 3)
    near_a = runs.samplers.curvature.examples(for_a, runs.data, runs.curvature)
    near_b = runs.samplers.curvature.examples(for_b, runs.data, runs.curvature)

    # H a and H b. In the directions E the Hessian is that of all examples, on the rest that of m of them.
    (y_a, rest_a), (y_b, rest_b) = now.split(a), now.split(b)
    H_rest_a, H_rest_b = sums.product(theta, *near_a, rest_a), sums.product(theta, *near_b, rest_b)
    H_a, H_b = H_rest_a + y_a @ now.readings, H_rest_b + y_b @ now.readings

    # What is measured: G·c + a·H b, by either curvature on the rest.
    on_rest = (jnp.dot(rest_b, H_rest_a) + jnp.dot(rest_a, H_rest_b)) / 2
    train = jnp.dot(here.gradient, c) + y_a @ now.train @ y_b + on_rest
    test = train
    if runs.test_data is not None:
        probe = runs.samplers.probe.examples(for_test, runs.test_data, runs.curvature)
        test = _test_second_derivative(sums, here, now, probe, a, (y_a, rest_a), b, (y_b, rest_b), c)

    # The noise F = Σ w (l_x − l): its gradient, and its Hessian on a + b and on 2 δ = 2 y E.
    indices, weights = runs.samplers.noise.signed(for_noise, label, runs.noise)
    delta = y @ now.vectors
    vectors = jnp.stack([a + b, 2 * delta] if some else [a + b])
    gradient, products = sums.gradient_and_products(theta, picked(runs.data, indices), weights, vectors)
    total = jnp.sum(weights)
    gradient = gradient - total * here.gradient  # ∇F
    on_both = products[0] - total * (H_a + H_b)  # ∇²F (a + b)
    on_delta = products[-1] - 2 * total * (y @ now.readings)  # 2 ∇²F δ

    # What moves: a, b and c along the path, and y and u in the directions.
    H_c_and_D3 = sums.second_order(theta, *near_a, a, b, c)  # H c + D³[a, b]
    read = here.adjoints.vectors @ on_delta + (here.adjoints.bends @ y) @ y  # λ·(2 ∇²F δ + D³[δ, δ])
    moved = _State(
        a=a - rate * (H_a + gradient),
        b=b - rate * (H_b + gradient),
        c=c - rate * (H_c_and_D3 + on_both),
        y=following.moves @ y - rate * (following.readings @ gradient),
        u=u - rate * read,
    )
    scaled = u * here.adjoints.factors if some else jnp.zeros(1)
    return moved, Draws(
        train=train,
        test=test,
        influence=jnp.dot(gradient, a + b) / 2,
        train_controls=jnp.stack([y @ now.train @ y, scaled[here.adjoints.train]]),
        test_controls=jnp.stack([y @ now.test @ y, scaled[here.adjoints.test]]),
        influence_controls=jnp.stack([jnp.dot(gradient, delta)]),
    )


def _test_second_derivative(
    sums: Sums,
    here: _PathStep,
    now: Directions,
    probe: tuple[PyTree, Float[Array, " examples"]],
    a: Float[Array, " params"],
    parts_of_a: tuple[Float[Array, " directions"], Float[Array, " params"]],
    b: Float[Array, " params"],
    parts_of_b: tuple[Float[Array, " directions"], Float[Array, " params"]],
    c: Float[Array, " params"],
) -> Float[Array, ""]:
    """Return G·c + a·H b for the gradient and Hessian of the test loss, the latter of few test examples on the rest.

    The parts of a vector are its coordinates in the directions and the rest of it.
    """
    (y_a, rest_a), (y_b, rest_b) = parts_of_a, parts_of_b
    if now.vectors.shape[0] > 0:
        on_rest, on_seen = sums.products(here.theta, *probe, jnp.stack([rest_b, y_b @ now.vectors]))
    else:
        on_rest, on_seen = sums.product(here.theta, *probe, b), jnp.zeros_like(b)
    exact = jnp.dot(here.test_gradient, c) + y_a @ now.test @ y_b
    return exact + jnp.dot(a, on_rest) + jnp.dot(rest_a, on_seen)
