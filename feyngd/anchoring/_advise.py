"""What would change the outcome of a training run most, at the same number of example evaluations."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

import jax
import numpy as np
import sympy

from .._arguments import check_integer
from .._deprecations import DEPRECATIONS, Deprecation
from .._keys import check_key
from .._learning_rates import check_learning_rates
from ..errors import ArgumentError, SpacetimeError
from ..estimates import Estimate
from ..landscapes import Landscape, check_landscape, check_reading
from ..progress import Progress, check_progress
from ..spacetimes import Spacetime
from ._advice import Advice, AdviceTable
from ._anchor import anchor, check_anchored_reading
from ._anchored import CURVATURE, NOISE, Anchored
from ._goals import PILOT, WITHOUT_CONTROLS, Effect, Goal, has_controls
from ._noise_weights import noise_weights, served
from ._prediction import AnchoredPrediction

SAMPLINGS = ("reshuffled", "with-replacement", "fixed")
_SMALL = 0.1  # of what noise adds to the planned run: changes by less than this need not be known as precisely
_TIMED = 8  # gradients that are timed
_OLD = Deprecation("feyngd.anchoring.anchored_for_advice", "feyngd.advise", since="0.2", until="0.4")
DEPRECATIONS.append(_OLD)


@dataclass(frozen=True)
class _Change:
    """A change in words, and the changed run or why there is none."""

    text: str
    run: Spacetime | SpacetimeError


@overload
def advise(landscape: Anchored, params: Spacetime, *, factor: int = 2) -> AdviceTable: ...


@overload
def advise(
    landscape: Landscape,
    params: Any,
    spacetime: Spacetime,
    learning_rate: float | Sequence[float],
    *,
    factor: int = 2,
    within: float = 0.05,
    num_samples: int = 64,
    progress: Progress | None = None,
    key: jax.Array,
    **options: Any,
) -> AdviceTable: ...


def advise(
    landscape: Landscape | Anchored,
    params: Any = None,
    spacetime: Spacetime | None = None,
    learning_rate: Any = None,
    *,
    factor: int = 2,
    within: float = 0.05,
    num_samples: int = 64,
    progress: Progress | None = None,
    key: jax.Array | None = None,
    **options: Any,
) -> AdviceTable:
    """Rank changes of batch size, data, epochs and sampling by what they do to the test loss at the end of a run.

    Every change keeps the number of example evaluations and the learning rate of every step: smaller batches make more
    steps, more data fewer epochs. Where epochs of the planned run end with a smaller batch, those of the changes do too
    if they leave a rest. One call of `anchor` serves all of them, so that errors which they share cancel
    in the differences. In the conditional reading the data are the training set, and their number does not change.

    Functionals that are there already are enough: `advise(anchored, spacetime)` computes nothing.

    Args:
        landscape: the loss and the data; or an `Anchored`, with the spacetime alone after it.
        params: the start of the run, a pytree of floating-point arrays.
        spacetime: the run as planned: reshuffled, fixed or with replacement.
        learning_rate: η, or one for every step. With one for every step, changes that make more steps than there are
            learning rates cannot be predicted.
        factor: by how much batch size and data are changed, 2 or more.
        within: the standard error of every effect, relative to the effect, at which no more noise is drawn. An effect
            of less than a tenth of what noise adds to the planned run counts as a tenth.
        num_samples: the number of draws of noise at most, as in `anchor`.
        progress: shows progress, and before the work how long it may take; silent by default.
        key: a JAX random key.
        **options: other options of `anchor`, such as `truncation_samples`.

    Returns:
        An `AdviceTable`: printed, a table. It has the changes, those that lower the test loss most first, and those
        that cannot be predicted, with the reason.

    Raises:
        ArgumentError: the spacetime has no epochs, an option is invalid, or what `anchor` raises.
        SpacetimeError: the planned run itself cannot be predicted.

    Examples:
        >>> import jax
        >>> import feyngd as fd
        >>> landscape, params = fd.landscapes.toys.cosh()
        >>> planned = fd.Spacetime.sgd(N=8, B=2, E=2)
        >>> quick = {"num_samples": 8, "truncation_samples": 0, "control_directions": 0}
        >>> advice = fd.advise(landscape, params + 1.0, planned, 0.1, **quick, key=jax.random.key(0))
        >>> advice[0].change, len(advice)
        ('batches of 1 instead of 2', 6)
    """
    if isinstance(landscape, Anchored):
        return _by_functionals(landscape, params, spacetime, learning_rate, key, factor)
    check_landscape(landscape)
    check_anchored_reading(landscape)
    _check(spacetime, factor)
    assert spacetime is not None
    check_reading(landscape, spacetime)
    noise_weights(spacetime, landscape.reading)
    if learning_rate is None:
        raise ArgumentError("Give the learning rate of the run, or one for every step, after its spacetime.")
    rates = check_learning_rates(learning_rate, schedule=True)
    check_integer("num_samples", num_samples, least=2)
    check_key(key, "Signs of examples are drawn at random")
    assert key is not None
    progress = check_progress(progress)
    changes = _changes(landscape.reading, spacetime, factor)
    if len(rates) > 1:
        changes = [_within_schedule(change, len(rates)) for change in changes]
    runs = [spacetime, *(change.run for change in changes if isinstance(change.run, Spacetime))]
    steps = max(int(run.T) for run in runs)
    goal = Goal(within, partial(_effects, spacetime, changes))
    if type(progress) is not Progress:
        progress.note(_how_long(landscape, params, runs, steps, num_samples))
    anchored = anchor(
        landscape,
        params,
        steps=steps,
        learning_rate=rates[:steps].tolist() if len(rates) > 1 else float(rates[0]),
        spacetimes=runs,
        within=goal,
        num_samples=num_samples,
        progress=progress,
        key=key,
        **options,
    )
    return _table(anchored, spacetime, changes)


def anchored_for_advice(spacetime: Spacetime, *, factor: int = 2) -> dict[str, Any]:
    """Return the options of `anchor` that serve all changes of a run: steps, epoch_lengths and fixed_order.

    Deprecated: `advise` anchors what it needs by itself.

    Args:
        spacetime: the run as planned.
        factor: by how much batch size and data will be changed.

    Raises:
        ArgumentError: as in `advise`.
    """
    _OLD.warn()
    _check(spacetime, factor)
    if spacetime.last_batch:
        raise ArgumentError(
            f"These options know of batches of one size, and every epoch of {spacetime} ends with a smaller one: leave "
            "them out, as advise(landscape, params, spacetime, learning_rate) anchors what it needs."
        )
    length = sympy.Rational(int(spacetime.N), int(spacetime.B))
    lengths = [int(each) for each in (length / factor, length, length * factor) if each.is_Integer]
    return {"steps": int(spacetime.T) * factor, "epoch_lengths": lengths, "fixed_order": True}


def _by_functionals(
    anchored: Anchored, given: Any, spacetime: Any, learning_rate: Any, key: Any, factor: int
) -> AdviceTable:
    """Return advice from functionals that are there."""
    if (given is not None and spacetime is not None) or learning_rate is not None or key is not None:
        raise ArgumentError(
            "Functionals have their start, learning rates and draws already: give advise(anchored, spacetime) no more."
        )
    planned = given if spacetime is None else spacetime
    _check(planned, factor)
    return _table(anchored, planned, _changes(anchored.landscape.reading, planned, factor))


def _table(anchored: Anchored, spacetime: Spacetime, changes: list[_Change]) -> AdviceTable:
    planned = anchored.predict(spacetime)
    rows, unpredicted = [], {}
    for change in changes:
        try:
            if isinstance(change.run, SpacetimeError):
                raise change.run
            other = anchored.predict(change.run)
        except SpacetimeError as error:
            unpredicted[change.text] = str(error)
            continue
        truncation = float(np.hypot(other.truncation[-1], planned.truncation[-1]))
        effect = Estimate.from_replicates(_difference(other, planned), kind="path", kinks=anchored.kinks)
        rows.append(Advice(change.text, change.run, effect, truncation))
    return AdviceTable(planned, tuple(sorted(rows, key=lambda row: row.effect.value)), unpredicted)


def _difference(other: AnchoredPrediction, planned: AnchoredPrediction) -> np.ndarray:
    """Return replicates of how much higher the loss of another run ends."""
    return other.noiseless[-1] + other.replicates[:, -1] - (planned.noiseless[-1] + planned.replicates[:, -1])


def _effects(spacetime: Spacetime, changes: list[_Change], anchored: Anchored) -> Iterator[Effect]:
    """Return the effects that have to be known, from functionals."""
    planned = anchored.predict(spacetime)
    least = _SMALL * abs(float(planned.noise[-1]))
    for change in changes:
        if isinstance(change.run, Spacetime):
            controlled = has_controls(spacetime) and has_controls(change.run)
            yield Effect(_difference(anchored.predict(change.run), planned), controlled, least)


def _check(spacetime: Any, factor: int) -> None:
    check_integer("factor", factor, least=2)
    if not isinstance(spacetime, Spacetime) or spacetime.sampling not in SAMPLINGS:
        raise ArgumentError(f"Advice is on runs of {', '.join(map(repr, SAMPLINGS))} batches; got {spacetime!r}.")
    spacetime.require_concrete("Changes are compared")


def _changes(reading: str, spacetime: Spacetime, factor: int) -> list[_Change]:
    """Return what can be changed about a run at the same number of evaluations."""
    N, B, sampling = int(spacetime.N), int(spacetime.B), spacetime.sampling
    budget = sum(spacetime.batch_sizes())
    changes: list[tuple[str, tuple[int, int, int, str]]] = [
        (f"batches of {B * factor} instead of {B}", (N, B * factor, budget, sampling))
    ]
    if B % factor == 0:
        changes.append((f"batches of {B // factor} instead of {B}", (N, B // factor, budget, sampling)))
    if reading == "population":
        more = f"{N * factor} training points instead of {N}, fewer epochs"
        changes.append((more, (N * factor, B, budget, sampling)))
        if N % factor == 0:
            fewer = f"{N // factor} training points instead of {N}, more epochs"
            changes.append((fewer, (N // factor, B, budget, sampling)))
    changes += [(f"{other} batches", (N, B, budget, other)) for other in SAMPLINGS if other != sampling]
    return [_Change(text, _made(reading, *sizes, drop_last=spacetime.drop_last)) for text, sizes in changes]


def _made(
    reading: str, N: int, B: int, budget: int, sampling: str, *, drop_last: bool | None
) -> Spacetime | SpacetimeError:
    """Return the changed run, or the error that says why there is none."""
    leaves_rest = sampling != "with-replacement" and N % B > 0
    try:
        epochs, evaluations = divmod(budget, N) if leaves_rest and drop_last is False else (0, budget)
        if evaluations % B:
            raise SpacetimeError(f"{budget} evaluations are not a whole number of its batches of {B}.")
        steps = epochs * -(-N // B) + evaluations // B
        made = Spacetime.sgd(N, B, T=steps, sampling=sampling, drop_last=drop_last if leaves_rest else None)
        noise_weights(made, reading)
    except SpacetimeError as error:
        return error
    return made


def _within_schedule(change: _Change, known: int) -> _Change:
    """Return the change, without its run if that makes more steps than there are learning rates."""
    if not isinstance(change.run, Spacetime) or int(change.run.T) <= known:
        return change
    reason = f"it makes {change.run.T} steps, and there are {known} learning rates: give more of them, or a single one."
    return _Change(change.text, SpacetimeError(reason))


def _how_long(landscape: Landscape, params: Any, runs: list[Spacetime], steps: int, num_samples: int) -> str:
    """Say how long it will take, by counting gradients and timing one."""
    ties = {each for run in runs for each in served(run, landscape.reading, int(run.T))}
    least, most = _gradients(landscape.num_examples, steps, len(ties), num_samples)
    seconds = _seconds(landscape, params)
    low, high = (count * seconds for count in (least, most))
    return (
        f"advice on {runs[0]}: about {low:.2g} to {high:.2g} s, {least:,.0f} to {most:,.0f} gradients of the mean "
        "loss; the first call compiles too"
    )


def _seconds(landscape: Landscape, params: Any) -> float:
    """Return how long a gradient of the mean loss takes, one of several in a program, as in all that follows."""

    @jax.jit
    def descend(point: Any, times: Any) -> Any:
        def step(_: Any, point: Any) -> Any:
            return jax.tree.map(lambda x, g: x - 1e-6 * g, point, jax.grad(landscape.mean_loss)(point))

        return jax.lax.fori_loop(0, times, step, point)

    def taken(times: int) -> float:
        start = time.perf_counter()
        jax.block_until_ready(descend(params, times))
        return time.perf_counter() - start

    taken(1)
    few, many = (min(taken(times) for _ in range(2)) for times in (1, 1 + _TIMED))
    return max(many - few, 0.0) / _TIMED


def _gradients(count: int, steps: int, ties: int, num_samples: int) -> tuple[float, float]:
    """Return how many gradients of the mean loss over `count` examples advice takes, at least and at most."""
    chains = steps * (ties + 6)
    draw = chains * (6 * min(NOISE, count) + 12 * min(CURVATURE, count)) / count
    others = steps * (2 + 16 * ties * 8 * min(256, count) / count)  # the path, and the next orders
    least = others + min(2 * PILOT, num_samples) * draw
    return least, others + (num_samples + WITHOUT_CONTROLS + 2 * PILOT) * draw
