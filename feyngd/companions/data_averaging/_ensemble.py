"""Ensembles of real runs over independently drawn training sets."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..._arguments import check_integer
from ..._keys import check_key
from ..._learning_rates import check_learning_rate
from ...errors import ArgumentError
from ...landscapes import Landscape, check_landscape, enter
from ...optimizers import Optimizer
from ...optimizers import momentum as with_momentum
from ...optimizers import schedule as with_schedule
from ...progress import Progress, check_progress
from ...spacetimes import Spacetime, check_spacetime
from .._heavy_ball import FORMS
from .._numbers import check_choice, check_number
from ._runs import Drawn, Plan, Seen, compiled_runs
from ._settled import Ensemble

DRAWINGS = ("iid", "split", "overlap")
_OF_READING = {"population": "iid", "unbiased": "split"}


def ensemble(
    landscape: Any,
    start: Any,
    spacetime: Spacetime,
    learning_rate: float,
    *,
    datasets: int = 32,
    runs: int = 1,
    drawing: str | None = None,
    test_size: int | None = None,
    weight_decay: float = 0.0,
    noise: float = 0.0,
    momentum: float = 0.0,
    form: str = "pytorch",
    schedule: str | Sequence[float] = "constant",
    records: int = 200,
    metrics: Mapping[str, Callable[[Any, Any], Any]] | None = None,
    keep: str = "last",
    chunk_size: int = 16,
    progress: Progress | None = None,
    key: jax.Array | None = None,
) -> Ensemble:
    """Train on many independently drawn training sets, and keep what is seen of every run.

    These are plain runs: losses are those of single runs, without control variates and without anything taken off.
    Gradients are those of the batch's mean loss plus αθ, plus β/√B times a standard normal draw, so that the noise of a
    step of plain SGD is λT(D + β²) with T = λ/B.

    Args:
        landscape: the loss and the pool of M examples.
        start: the parameters, or `init(key)` that draws them for every run.
        spacetime: the concrete N, B, E, T and sampling.
        learning_rate: λ, before a schedule.
        datasets: the number of training sets, at least 2.
        runs: the number of runs on each.
        drawing: "iid", N independent draws, tested on the whole pool; "split", N distinct examples, tested on others;
            "overlap", N distinct examples, tested on as many drawn independently from the whole pool. By default what
            the landscape's reading says: "iid" for population, "split" for unbiased.
        test_size: the number of test examples, distinct; by default all others with "split", and as many with
            "overlap". With "iid" there is none to choose.
        weight_decay: α, which acts on gradients.
        noise: β, isotropic.
        momentum: μ.
        form: of momentum: "pytorch" or "sutskever"; they differ under a schedule.
        schedule: "constant"; "cosine", the paper's quarter cosine cos(πt/2T); or multipliers of λ, one for every step.
        records: how often runs are looked at, at most, at equal distances, the start and the end among them.
        metrics: by name, functions `f(params, example)` whose means are kept as losses are.
        keep: "last" to keep parameters at the end, "records" to keep them at every record.
        chunk_size: the number of runs that are vectorised together.
        progress: shows progress; silent by default.
        key: a JAX random key; the same key gives the same runs, and the same training sets in "split" and "overlap".

    Returns:
        An `Ensemble`. Runs that diverged are marked, and what was seen of them is kept as it is.

    Raises:
        ArgumentError: an argument is not allowed, the reading is conditional, or N does not suit the drawing.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: the loss, data or parameters are invalid.

    References:
        "Studying Generalization Through Data Averaging", section 2.1, equations (15), (16) and (45), appendix E.

    Examples:
        >>> import jax
        >>> import feyngd as fd
        >>> landscape, start = fd.landscapes.toys.mean_estimation()
        >>> space = fd.Spacetime.sgd(N=4, B=1, T=8, sampling="with-replacement")
        >>> ensemble(landscape, start, space, 0.1, datasets=5, key=jax.random.key(0)).train_loss.shape
        (5, 1, 9)
    """
    settings = _Settings(
        check_learning_rate(learning_rate),
        check_number("weight_decay", weight_decay, least=0),
        check_number("noise", noise, least=0),
        check_integer("datasets", datasets, least=2),
        check_integer("runs", runs, least=1),
    )
    check_choice("keep", keep, ("last", "records"))
    looks = check_integer("records", records, least=2)
    chunk = check_integer("chunk_size", chunk_size, least=1)
    check_key(key, "Training sets and batches are drawn at random")
    assert key is not None
    shown = check_progress(progress)
    check_spacetime(spacetime, concrete="SGD is run")
    optimizer = optimizer_of(momentum, form, schedule, int(spacetime.T))
    check_landscape(landscape)
    drawing, tests = check_drawing(landscape, int(spacetime.N), drawing, test_size)
    draws = _Draws.make(landscape, start, spacetime, settings, drawing, tests, key)
    landscape, template = enter(landscape, draws.starts[0])
    named = _check_metrics(metrics, template, landscape)
    landscape.validate(template)
    times = np.unique(np.round(np.linspace(0, int(spacetime.T), looks)).astype(np.int32))
    rates = settings.rate, settings.weight_decay, settings.noise
    plan = Plan.make(optimizer, spacetime.batch_sizes(), times, *rates)
    compiled = compiled_runs(landscape.loss, tuple(named.values()), keep == "records", settings.noise > 0)
    whole = _seen(partial(compiled, template, landscape.data, plan), spacetime, settings, draws, chunk, shown)
    return _gathered(whole, landscape, template, spacetime, optimizer, settings, drawing, draws.training, times, named)


class _Settings(NamedTuple):
    """The numbers of an ensemble: λ, α, β, how many training sets, and runs on each."""

    rate: float
    weight_decay: float
    noise: float
    sets: int
    each: int


class _Draws(NamedTuple):
    """What is random in an ensemble.

    Attributes:
        starts: the parameters at the start of every run, or the same of all.
        training: the examples of every training set, shape (datasets, N).
        testing: likewise of every test set; `None` where the whole pool tests.
        rng: draws batches.
        noise_keys: of the injected noise of every run.
    """

    starts: list[Any]
    training: np.ndarray
    testing: np.ndarray | None
    rng: np.random.Generator
    noise_keys: jax.Array

    @classmethod
    def make(
        cls,
        landscape: Landscape,
        start: Any,
        spacetime: Spacetime,
        settings: _Settings,
        drawing: str,
        tests: int | None,
        key: jax.Array,
    ) -> "_Draws":
        """Draw from keys of their own, so that none depends on how much another draws."""
        for_start, for_sets, for_tests, for_batches, for_noise = jax.random.split(key, 5)
        pool, count = landscape.num_examples, settings.sets * settings.each
        training = _training_sets(pool, int(spacetime.N), settings.sets, drawing, for_sets)
        testing = _test_sets(training, pool, tests, drawing, for_tests)
        noise_keys = jax.random.split(for_noise, count)
        return cls(_starts(start, count, for_start), training, testing, _generator(for_batches), noise_keys)


def _seen(
    compiled: Callable[[Drawn], Seen],
    spacetime: Spacetime,
    settings: _Settings,
    draws: _Draws,
    chunk: int,
    progress: Progress,
) -> Seen:
    """Run everything in chunks of one size, and return what was seen with axes of datasets and runs in front."""
    count, each = settings.sets * settings.each, settings.each
    flat = jnp.stack([ravel_pytree(one)[0] for one in draws.starts])
    chunk, found = min(chunk, count), []
    with progress.task(count, "runs of SGD") as task:
        for first in range(0, count, chunk):
            number = np.minimum(np.arange(first, first + chunk), count - 1)  # filled up: one shape
            of_set = number // each
            chosen = draws.training[of_set]
            batches = draws.training[of_set[:, None, None], spacetime.sample(draws.rng, chunk, fill=True)]
            tested = None if draws.testing is None else draws.testing[of_set]
            start_of = flat[number if len(flat) > 1 else np.zeros_like(number)]
            seen = compiled(Drawn(start_of, chosen, tested, batches, draws.noise_keys[number]))
            real = min(chunk, count - first)
            found.append(jax.tree.map(lambda leaf, real=real: np.asarray(leaf)[:real], seen))
            task.advance(real)
    return jax.tree.map(
        lambda *leaves: np.concatenate(leaves).reshape(settings.sets, each, *leaves[0].shape[1:]), *found
    )


def _gathered(
    seen: Seen,
    landscape: Landscape,
    template: Any,
    spacetime: Spacetime,
    optimizer: Optimizer,
    settings: _Settings,
    drawing: str,
    training: np.ndarray,
    times: np.ndarray,
    named: Mapping[str, Any],
) -> Ensemble:
    is_finite = np.isfinite(seen.train).all(axis=(2, 3)) & np.isfinite(seen.test).all(axis=(2, 3))
    is_finite &= np.isfinite(seen.params).reshape(*is_finite.shape, -1).all(axis=2)
    return Ensemble(
        learning_rate=settings.rate,
        weight_decay=settings.weight_decay,
        noise=settings.noise,
        optimizer=optimizer,
        spacetime=spacetime,
        drawing=drawing,
        times=times,
        train_loss=seen.train[:, :, 0],
        test_loss=seen.test[:, :, 0],
        test_spread=seen.spread,
        metrics={
            name: {"train": seen.train[:, :, place], "test": seen.test[:, :, place]}
            for place, name in enumerate(named, start=1)
        },
        training_sets=training,
        diverged=~is_finite,
        landscape=landscape,
        template=template,
        flat_params=seen.params,
    )


def optimizer_of(momentum: Any, form: Any, schedule: Any, steps: int) -> Optimizer:
    """Return momentum in a form with a schedule for a number of steps, or raise `ArgumentError`."""
    mu = check_number("momentum", momentum, least=0, below=1)
    base = with_momentum(mu, classical=check_choice("form", form, FORMS) == "sutskever")
    if isinstance(schedule, str):
        if check_choice("schedule", schedule, ("constant", "cosine")) == "constant":
            return base
        multipliers = np.cos(np.pi * np.arange(steps) / (2 * steps))
    else:
        multipliers = np.asarray(schedule, dtype=float)
        if multipliers.shape != (steps,):
            raise ArgumentError(
                f"A schedule has a multiplier for every one of T={steps} steps; got shape {multipliers.shape}."
            )
    return with_schedule(multipliers.tolist(), base)


def check_drawing(landscape: Landscape, N: int, drawing: Any, test_size: Any) -> tuple[str, int | None]:
    """Return how training and test sets are drawn, and the number of test examples, `None` for the whole pool."""
    if landscape.reading == "conditional":
        raise ArgumentError(
            "In the conditional reading there is one training set, the data, so there is nothing to average over. Make "
            "the landscape in the population or the unbiased reading, or use fd.simulate for runs on one training set."
        )
    drawn = check_choice("drawing", _OF_READING[landscape.reading] if drawing is None else drawing, DRAWINGS)
    pool = landscape.num_examples
    if drawn == "iid":
        if test_size is not None:
            raise ArgumentError(
                "With drawing='iid' the whole pool tests: leave test_size out, or use drawing='overlap'."
            )
        return drawn, None
    largest = pool - 1 if drawn == "split" else pool
    if largest < N:
        raise ArgumentError(
            f"drawing={drawn!r} takes N distinct examples from a pool of {pool}, so N ≤ {largest}; got N={N}. Take "
            "fewer, or use drawing='iid'."
        )
    most = pool - N if drawn == "split" else pool
    if test_size is None:
        return drawn, max(pool - N, 1)
    size = check_integer("test_size", test_size, least=1)
    if size > most:
        raise ArgumentError(f"At most {most} examples test with drawing={drawn!r} and N={N}; got test_size={size}.")
    return drawn, size


def _check_metrics(metrics: Any, params: Any, landscape: Landscape) -> dict[str, Callable[[Any, Any], Any]]:
    named = dict(metrics or {})
    for name, metric in named.items():
        if not callable(metric):
            raise ArgumentError(f"A metric is a function f(params, example); {name!r} is {type(metric).__name__}.")
        shape = jax.eval_shape(metric, params, landscape.example_shapes)
        if getattr(shape, "shape", None) != ():
            raise ArgumentError(f"A metric returns one number for one example; {name!r} returns {shape}.")
    return named


def _starts(start: Any, count: int, key: jax.Array) -> list[Any]:
    """Return the start of all runs, or of every run."""
    return [start(one) for one in jax.random.split(key, count)] if callable(start) else [start]


def _generator(key: jax.Array) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())


def _training_sets(pool: int, N: int, sets: int, drawing: str, key: jax.Array) -> np.ndarray:
    rng = _generator(key)
    if drawing == "iid":
        return rng.integers(0, pool, size=(sets, N), dtype=np.int32)
    return np.stack([rng.permutation(pool)[:N] for _ in range(sets)]).astype(np.int32)


def _test_sets(training: np.ndarray, pool: int, size: int | None, drawing: str, key: jax.Array) -> np.ndarray | None:
    if size is None:
        return None
    rng = _generator(key)
    chosen = []
    for row in training:
        candidates = np.setdiff1d(np.arange(pool), row) if drawing == "split" else np.arange(pool)
        chosen.append(rng.permutation(candidates)[:size])
    return np.stack(chosen).astype(np.int32)
