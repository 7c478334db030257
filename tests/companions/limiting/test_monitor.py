"""The monitor of stationarity: its identity, false alarms, and loops of flax, equinox, optax and plain NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

import feyngd as fd
from feyngd.companions import limiting as co

OPTIMIZERS = [fd.sgd(), fd.momentum(0.9), fd.momentum(0.8, nesterov=True), fd.momentum(0.8, dampening=0.25)]
X = np.random.default_rng(0).normal(size=(256, 3))
Y = np.tanh(X @ [1.0, -0.5, 0.2]) + 0.5 * np.random.default_rng(1).normal(size=256)


def run(optimizer, eta, steps, theta, rng, curvatures, monitor):
    """Return the verdicts' state after steps in a bowl with noise, and where they end."""
    u, state, beta = np.zeros_like(theta), monitor.init(theta), float(optimizer.beta)
    for step in range(steps):
        g = curvatures * theta + rng.normal(size=theta.shape) * np.sqrt(curvatures)
        u = beta * u + (1.0 if not step else 1 - float(optimizer.dampening)) * g
        change = -eta * (g + beta * u) if optimizer.nesterov else -eta * u
        state, theta = monitor.update(state, theta, g, change), theta + change
    return state, theta


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_both_sides_are_equal_in_a_stationary_run(optimizer):
    rng = np.random.default_rng(0)
    monitor = co.StationarityMonitor(optimizer, 0.1)
    state, _ = run(optimizer, 0.1, 4096, np.zeros(3), rng, np.array([1.0, 0.5, 0.3]), monitor)
    report = monitor.report(state)
    assert report.is_stationary
    assert abs(report.gap) < 0.02
    assert report.steps == 4096


def test_false_alarms_are_rare():
    alarms = undecided = 0
    rng = np.random.default_rng(1)
    curvatures = np.array([1.0, 0.3, 0.1])
    optimizer, eta = fd.momentum(0.9), 0.05
    monitor = co.StationarityMonitor(optimizer, eta)
    theta, u = np.zeros((200, 3)), np.zeros((200, 3))
    states = None
    for step in range(300 + 512):
        g = curvatures * theta + rng.normal(size=theta.shape) * np.sqrt(curvatures)
        u = 0.9 * u + g
        if step == 300:
            origin = theta.copy()
            states = [monitor.init(origin[i]) for i in range(200)]
        if states is not None:
            seen = step - 300
            if seen >= 16 and not seen & (seen - 1):
                origin = theta.copy()
                states = [monitor.moved(state, theta[i]) for i, state in enumerate(states)]
            left = np.sum((theta - origin) * g, axis=1) / (1 - 0.9)  # the sides of all runs at once
            right = np.sum(eta * u**2, axis=1) * (0.5 + 0.9 / (1 - 0.9))
            states = [monitor.add(state, *sides) for state, *sides in zip(states, left, right, strict=True)]
        theta = theta - eta * u
        if step in (300 + 63, 300 + 127, 300 + 511):
            verdicts = [monitor.report(state).verdict for state in states]
            alarms = max(alarms, verdicts.count("still drifting"))
            undecided = verdicts.count("too early")
    assert alarms <= 10
    assert undecided <= 20


@pytest.mark.parametrize("optimizer", [fd.sgd(), fd.momentum(0.9), fd.momentum(0.9, nesterov=True)])
def test_drift_is_seen(optimizer):
    rng = np.random.default_rng(2)
    monitor = co.StationarityMonitor(optimizer, 0.01)
    drifting = 0
    for _ in range(10):
        state, _ = run(optimizer, 0.01, 48, np.full(4, 20.0), rng, np.array([1.0, 0.3, 0.1, 0.03]), monitor)
        drifting += monitor.report(state).verdict == "still drifting"
    assert drifting >= 8


def loop(params, loss, monitor, tx, steps, seed, looks):
    """Train with optax on batches of 8, and return the monitor's verdicts at some steps."""

    @jax.jit
    def train(params, memory, x, y):
        gradient = jax.grad(loss)(params, x, y)
        updates, memory = tx.update(gradient, memory, params)
        return optax.apply_updates(params, updates), memory, gradient, updates

    rng, memory, state, verdicts = np.random.default_rng(seed), tx.init(params), monitor.init(params), []
    for step in range(1, steps + 1):
        drawn = rng.integers(0, len(X), size=8)
        before = params
        params, memory, gradient, updates = train(params, memory, X[drawn], Y[drawn])
        state = monitor.update(state, *jax.device_get((before, gradient, updates)))
        if step in looks:
            verdicts.append(monitor.report(state).verdict)
    return verdicts


def test_a_flax_loop():
    network = linen.Dense(1)
    params = jax.tree.map(lambda leaf: leaf + 3.0, network.init(jax.random.key(0), jnp.zeros(3)))

    def loss(p, x, y):
        return jnp.mean((network.apply(p, x)[:, 0] - y) ** 2) / 2

    monitor = co.StationarityMonitor(fd.momentum(0.9), 0.005)
    verdicts = loop(params, loss, monitor, optax.sgd(0.005, momentum=0.9), 1024, 0, (32, 1024))
    assert verdicts == ["still drifting", "stationary"]


def test_an_equinox_loop_with_weight_decay():
    model = eqx.nn.Linear(3, 1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_array)
    params = jax.tree.map(lambda leaf: leaf + 3.0, params)

    def loss(p, x, y):
        return jnp.mean((jax.vmap(eqx.combine(p, static))(x)[:, 0] - y) ** 2) / 2

    tx = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.005, momentum=0.9, nesterov=True))
    monitor = co.StationarityMonitor(fd.momentum(0.9, nesterov=True), 0.005, weight_decay=0.1)
    verdicts = loop(params, loss, monitor, tx, 1024, 1, (32, 1024))
    assert verdicts == ["still drifting", "stationary"]


class InPlaceSGD:
    """What torch.optim.SGD does to its tensors, on arrays: gradients without weight decay, steps in place."""

    def __init__(self, tensors, lr, momentum, weight_decay):
        self.tensors, self.lr, self.momentum, self.decay = tensors, lr, momentum, weight_decay
        self.buffers = [np.zeros_like(tensor) for tensor in tensors]

    def step(self, gradients):
        for tensor, buffer, gradient in zip(self.tensors, self.buffers, gradients, strict=True):
            buffer *= self.momentum
            buffer += gradient + self.decay * tensor
            tensor -= self.lr * buffer


def test_a_loop_in_place_as_in_pytorch():
    """The loop of docs/limiting.md, on single precision arrays that the optimizer writes to."""
    weights, bias = np.full(3, 3.0, np.float32), np.full(1, 3.0, np.float32)
    optimizer = InPlaceSGD([weights, bias], lr=0.005, momentum=0.9, weight_decay=0.1)
    monitor = co.StationarityMonitor(fd.momentum(0.9), 0.005, weight_decay=0.1)
    state, rng, verdicts = monitor.init([weights.copy(), bias.copy()]), np.random.default_rng(0), []
    for step in range(1, 1025):
        drawn = rng.integers(0, len(X), size=8)
        off = X[drawn] @ weights + bias - Y[drawn]
        before = [weights.copy(), bias.copy()]
        gradient = [(X[drawn].T @ off / 8).astype(np.float32), np.array([off.mean()], np.float32)]
        optimizer.step(gradient)
        change = [after - theta for after, theta in zip([weights, bias], before, strict=True)]
        state = monitor.update(state, before, gradient, change)
        if step in (32, 1024):
            verdicts.append(monitor.report(state).verdict)
    assert verdicts == ["still drifting", "stationary"]


def test_terms_may_be_compiled_and_update_may_not():
    monitor = co.StationarityMonitor(fd.momentum(0.5), 0.1)
    theta, g = {"a": jnp.ones(2)}, {"a": jnp.array([0.5, -1.0])}
    change = jax.tree.map(lambda leaf: -0.1 * leaf, g)
    state = monitor.init(theta)
    compiled = jax.jit(monitor.terms)(state.origin, theta, g, change)
    np.testing.assert_allclose(compiled, monitor.terms(state.origin, theta, g, change), rtol=1e-6)
    with pytest.raises(fd.ArgumentError, match="terms"):
        jax.jit(lambda p: monitor.update(state, p, g, change))(theta)
    with pytest.raises(fd.ArgumentError, match="one structure"):
        monitor.update(state, theta, {"b": jnp.ones(2)}, change)
    with pytest.raises(fd.ArgumentError, match=r"gradient is PyTreeDef\(\{'a': \*\}\) of \[\(1,\)\]"):
        monitor.update(state, theta, {"a": jnp.ones(1)}, change)  # would broadcast
    with pytest.raises(fd.ArgumentError, match="what init and update return"):
        monitor.update(None, theta, g, change)
    with pytest.raises(fd.ArgumentError, match="not finite"):
        monitor.update(state, theta, {"a": jnp.array([jnp.nan, 0.0])}, change)
    assert monitor.report(state).verdict == "too early"
    after = monitor.update(state, theta, g, change)
    assert (state.steps, after.steps) == (0, 1)
    assert not state.sides.any()
