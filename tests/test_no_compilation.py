"""A second call of a public function compiles nothing: other numbers of the same shapes run the programs of the first.

The loss stays the same function. Everything else differs: parameters, data, learning rates and how many there are, the
spacetime, the key. What a program is compiled for is the shape of parameters and examples, their number, the batch size
of simulations, which diagrams are evaluated, and which diagnostics are needed at all.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import feyngd as fd
from feyngd.evaluation.estimators import NAMES
from feyngd.landscapes import toys
from feyngd.training import aic, gdc, gdc_gradient, gdc_loss, stic, stic_value, tic, tic_value

# Learning rates that are too large for a series, and traces whose Lanczos steps end early, are as good here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CALLS = (0, 1, 2)  # the first compiles
RATES = ([1e-2, 3e-2], [2e-2, 5e-2], [1e-2, 2e-2, 4e-2])
# Spacetimes with the same diagrams to order 3, which takes as many epochs.
EPOCHS = (fd.Spacetime.sgd(6, 2, 3), fd.Spacetime.sgd(8, 2, 4), fd.Spacetime.sgd(12, 2, 3))
PASSES = tuple(fd.Spacetime.sgd(30, 5, epochs) for epochs in (3, 4, 5))  # over all examples
READINGS = ("population", "unbiased", "conditional")
VALLEY, BOTTOM = toys.cubic_valley()


def smooth(params, example):
    x, y = example
    return 0.5 * (jnp.tanh(jnp.dot(x, params["w"]) + params["b"]) - y) ** 2 + 0.1 * jnp.sum(params["w"] ** 2)


def kinked(params, example):
    x, y = example
    return 0.5 * (jax.nn.relu(jnp.dot(x, params["w"]) + params["b"]) - y) ** 2


def data(seed, count=30):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2)).astype(np.float32), rng.normal(size=count).astype(np.float32)


def params(call):
    rng = np.random.default_rng(100 + call)
    return {"w": jnp.asarray(rng.normal(size=2), jnp.float32), "b": jnp.asarray(0.3 * rng.normal(), jnp.float32)}


def landscape(call, reading="population", loss=smooth):
    return fd.Landscape(loss, data(call), data(50 + call, 11) if reading == "conditional" else None, reading=reading)


def spacetimes(reading):
    return PASSES if reading == "conditional" else EPOCHS


def evaluated(call, estimator, reading, order):
    series = fd.expand("test_loss", order=order, spacetime=spacetimes(reading)[call])
    return fd.evaluate(series, landscape(call, reading), params(call), estimator=estimator, key=jax.random.key(call))


def predicted(call, quantity, reading, order=3, **options):
    at = landscape(call, reading), params(call), spacetimes(reading)[call], RATES[call]
    return fd.predict(*at, quantity=quantity, order=order, key=jax.random.key(call), **options)


def predicted_with_lost_updates(call):
    large = jax.tree.map(lambda leaf: leaf + 1000, params(call))  # whose last digits are as large as a step
    batches = fd.Spacetime.sgd(6, call + 1, 2) if call != 1 else fd.Spacetime.sgd(6, 6, 2)
    at = fd.Landscape(quadratic, data(call)), large, batches, [1e-8, 2e-8]
    assert np.any(fd.predict(*at, order=1, check_dtype=True).lost_updates)


def quadratic(params, example):
    x, y = example
    return 0.5 * (jnp.dot(x, params["w"]) + params["b"] - y) ** 2


def simulated(call, quantity, reading, control=False):
    lengths = PASSES if reading == "conditional" else tuple(fd.Spacetime.sgd(6, 2, epochs) for epochs in (2, 3, 4))
    if quantity == "test_loss" and reading == "population":
        lengths = EPOCHS  # with other N, which it does not depend on
    at = landscape(call, reading), params(call), lengths[call], RATES[call]
    return fd.simulate(*at, quantity=quantity, runs=20, control=control, key=jax.random.key(call))


def simulated_sde(call):
    lengths = fd.Spacetime.sgd(6, 2, 2), fd.Spacetime.sgd(12, 3, 2), fd.Spacetime.sgd(8)
    return fd.simulate_sde(landscape(call), params(call), lengths[call], RATES[call], runs=6, key=jax.random.key(call))


def near_minimum(call, method, **options):
    centre = fd.Landscape(well, np.random.default_rng(call).normal(size=(30, 2)).astype(np.float32))
    at = jnp.zeros(2) + 1e-3 * call
    found = fd.near_minimum(centre, at, method=method, key=jax.random.key(call), **options)
    for quantity in ("test_loss", "train_loss", "gap"):
        found.predict(EPOCHS[call], RATES[call], quantity=quantity)


def well(theta, x):
    return jnp.sum(jnp.cosh(theta) + jnp.dot(x, theta)) + 0.2 * theta[0] * theta[1]


def anchored(call, reading, **options):
    lengths = (3, 6) if reading == "population" else (6,)
    rates = [0.05, 0.03, 0.02][call]
    at = {"steps": 12, "learning_rate": rates, "epoch_lengths": lengths, "num_samples": 4, "key": jax.random.key(call)}
    found = fd.anchor(landscape(call, reading), params(call), **(at | options))
    found.predict(fd.Spacetime.sgd(6, 1, 2) if reading == "population" else fd.Spacetime.sgd(30, 5, 2))


def advised(call):
    at = landscape(call), params(call), fd.Spacetime.sgd(12, 2, 2), [0.05, 0.03, 0.02][call]
    fd.advise(*at, key=jax.random.key(call))


def traced(call, criterion, method, **options):
    criterion(landscape(call), params(call), method=method, key=jax.random.key(call), **options)


def descended(call):
    optimizer = optax.chain(gdc(smooth, 0.1 + call), optax.sgd(0.1))
    return optimizer.update(params(call), optimizer.init(params(call)), params(call), batch=data(call))


def looked_at(call):
    at, point = landscape(call), params(call)
    at.mean_loss(point), at.test_loss(point), at.losses(point), at.example(call), at.flatten(point), at.data_digest
    at.validate(point)


def found_kinks(call):
    fd.landscapes.kinks(kinked, params(call), jax.tree.map(lambda leaf: leaf[call], data(0)))
    fd.landscapes.find_kinks(kinked, params(call), data(call))


def compared(call):
    runs = simulated(call, "test_loss", "population")
    comparison = fd.compare(predicted(call, "test_loss", "population", 2), runs)
    comparison.to_dict(), str(comparison)


def studied(call):
    with tempfile.TemporaryDirectory() as folder:
        spacetimes = [EPOCHS[call], EPOCHS[call - 1]]
        at = landscape(call), params(call), spacetimes, RATES[call], folder
        fd.study(*at, order=2, runs=20, key=jax.random.key(call))


FAST = {
    **{f"evaluate, {name}": lambda call, name=name: evaluated(call, name, "population", 2) for name in NAMES},
    "predict": lambda call: predicted(call, "test_loss", "population", 2),
    "predict, gap, conditional": lambda call: predicted(call, "gap", "conditional", 2),
    "predict, lost updates": predicted_with_lost_updates,
    "compare": compared,
    "simulate": lambda call: simulated(call, "test_loss", "population"),
    "simulate, control": lambda call: simulated(call, "train_loss", "conditional", control=True),
    "simulate_sde": simulated_sde,
    "near_minimum": lambda call: near_minimum(call, "dense"),
    "entropic_drift": lambda call: fd.entropic_drift(VALLEY, BOTTOM, EPOCHS[call], RATES[call][0]),
    "aic": lambda call: aic(landscape(call), params(call)),
    "tic": lambda call: traced(call, tic, "dense", damping=3.0 + call),
    "stic": lambda call: traced(call, stic, "dense", learning_rate=RATES[call][0], steps=10 + call),
    "stic, Lanczos": lambda call: traced(call, stic, "lanczos", learning_rate=RATES[call][0], steps=10 + call),
    "stic_value": lambda call: stic_value(
        smooth, params(call), data(call), learning_rate=RATES[call][0], steps=10 + call, time="continuous"
    ),
    "tic_value": lambda call: tic_value(smooth, params(call), data(call), damping=3.0 + call),
    "gdc": descended,
    "gdc_gradient": lambda call: gdc_gradient(smooth, params(call), data(call), learning_rate=0.1 + call),
    "gdc_loss": lambda call: gdc_loss(smooth, params(call), data(call), learning_rate=0.1 + call),
    "Landscape": looked_at,
    "kinks": found_kinks,
}


SLOW = {
    **{
        f"evaluate, {name}, {reading}": lambda call, name=name, reading=reading: evaluated(call, name, reading, 3)
        for name in NAMES
        for reading in READINGS
    },
    **{
        f"{function.__name__}, {quantity}, {reading}": lambda call, case=(function, quantity, reading): case[0](
            call, *case[1:]
        )
        for function in (simulated, predicted)
        for quantity in ("test_loss", "train_loss", "gap")
        for reading in READINGS
    },
    **{f"anchor, {reading}": lambda call, reading=reading: anchored(call, reading) for reading in READINGS[::2]},
    "advise": advised,
    "study": studied,
    "near_minimum, Lanczos": lambda call: near_minimum(call, "lanczos", num_samples=4, max_steps=4),
    "predict, kinks": lambda call: fd.predict(
        landscape(call, loss=kinked), params(call), EPOCHS[call], RATES[call], order=2, key=jax.random.key(call)
    ),
}


def test_a_compilation_is_seen():
    with compilations() as seen:
        jax.jit(lambda x: jnp.sin(x) + 3)(1.0)
    assert seen == ["jit(<lambda>)"]
    with compilations() as seen:
        jax.monitoring.record_event_duration_secs("/another/event", 1.0)
    assert seen == []


@pytest.mark.parametrize("name", FAST)
def test_later_calls_compile_nothing(name):
    assert compiled_later(FAST[name]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_later_calls_compile_nothing_at_length(name):
    assert compiled_later(SLOW[name]) == []


def compiled_later(function):
    """Return the names of the programs that are compiled in all calls but the first."""
    function(CALLS[0])
    with compilations() as seen:
        for call in CALLS[1:]:
            function(call)
    return seen


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Give a list of the programs compiled in the context, in all threads, those in JAX's cache on disk included."""
    seen: list[str] = []

    def listen(event: str, duration: float, **details: str | int) -> None:
        if event.endswith("/backend_compile_duration"):
            seen.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
