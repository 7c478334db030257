"""The values of diagrams on a landscape."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import jax
from jaxtyping import PyTree

from .._arguments import check_basis, check_integer
from .._keys import check_key
from ..derivatives import num_params
from ..diagrams import Diagram
from ..errors import ArgumentError
from ..landscapes import READINGS, Landscape, Origin, check_landscape, enter, kinks_at
from ..progress import Progress, check_progress
from ..quantities import Measurement, Variance
from ._kinds_of_diagrams import check_cells, check_forests
from ._rounding import Rounding, RoundingMeasurement, is_double
from ._samplers import MakeSampler, aimed_sampler_for, sampler_for
from ._values import Values
from .engine import Engine, NotFiniteError, check_mesh, cost_model
from .estimators import KINDS, NAMES, Aim, Effort, Setting
from .planning import ARITHMETIC_BOUND, JOINED, CostModel, Plan, make_plan, terms_of_value

ROOTS = ("test", "train")
MEASURED = "measured"  # where untied roots are that are a measurement


def evaluate(
    what: Any,
    landscape: Landscape,
    params: PyTree,
    *,
    basis: str | None = None,
    root: str | Measurement | None = None,
    estimator: str = "auto",
    replicates: int = 16,
    rtol: float | None = None,
    budget: float | timedelta | None = None,
    chunk_size: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    check_dtype: bool | None = None,
    progress: Progress | None = None,
    key: jax.Array | None = None,
) -> Values:
    """Evaluate diagrams on a landscape.

    The moment value of a diagram contracts the derivatives of the loss along the edges, and averages over one
    independent example for each part. The cumulant value has joint cumulants over each part instead. Values whose parts
    separate into single averages are exact up to rounding. Where parts are interleaved, the estimator decides:

    - "pairing": every replicate pairs the examples of different parts by independent uniformly random permutations,
      which is unbiased; the spread of the replicates gives the standard error.
    - "deflation": the leading directions of the gradients are contracted exactly, and only the rest is paired. It is
      for trained points, where few directions carry most of the noise. Values that it cannot take and that a pilot
      finds noisy, such as those in which one example meets three vectors, get strata.
    - "strata": the examples with the largest gradients are taken one by one, each with all others, and only the rest is
      paired; for values of two interleaved parts. Noisy values that it cannot take get deflation.
    - "double-sum": the exact sum over all combinations of examples; for small data.
    - "contraction": whole tensors of derivatives of single examples, averaged over each part and contracted exactly;
      for few parameters, whatever the number of examples.
    - "auto": the double sum or the contraction where they cost no more than the pairings, or else pairings. Where a
      pilot of half the replicates finds a standard error above 1 %, deflation and strata are tried, and kept if their
      error is smaller. Deflation is not tried beyond four million parameters, where its basis is large.

    Args:
        what: a `Series`, a diagram or an iterable of diagrams.
        landscape: the loss and its data of M examples, whose reading is honoured.
        params: the point, a pytree of floating-point arrays.
        basis: "moment" or "cumulant". A series brings its own; for diagrams the default is "moment".
        root: in the conditional reading, whether untied roots are measured on "test" or on "train" data; a series of
            the train loss brings "train", otherwise the default is "test". In any reading, a `measurement` whose
            derivatives stand at the root; a series of one brings it. For diagrams with two roots also "joined": the
            roots are loose ends, and the value is the trace, as for the "covariance_trace".
        estimator: how interleaved parts are averaged: "auto", "pairing", "deflation", "strata", "contraction" or
            "double-sum".
        replicates: the number of random pairings, at least 2; the least number if `rtol` or `budget` decides.
        rtol: draw as many pairings as bring every standard error below this fraction of its value, but not beyond
            `budget`, or 256 without one; warns if that was not enough. The number is measured by `replicates` pairings,
            which are thrown away, so that intervals stay right.
        budget: how much to spend at most, in gradients of the mean loss (by the plan's estimate), or a `timedelta`.
        chunk_size: the number of examples that are differentiated together; chosen by the size of the parameters.
        mesh: the devices that share the examples, a `jax.sharding.Mesh`; any number of examples is allowed.
        check_dtype: whether to measure what rounding does, by repeating a sample in double precision; the default is
            to do so unless parameters and loss are in double precision throughout. It is a diagnostic: where it cannot
            measure, a `PrecisionWarning` says why, and the values are returned.
        progress: shows progress; silent by default.
        key: a JAX random key; needed when a value is sampled.

    Returns:
        `Values`, a mapping from diagrams to `Estimate`, in the unit of the loss.

    Raises:
        ArgumentError: the basis is unknown or not the series' own, another option is invalid, or a key is needed.
        LandscapeError: the loss or data are invalid, or a derivative is not finite; names the diagram and the example.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Definition 4; the estimators are the project's own.
    """
    diagrams, basis, root = _requested(what, basis, root)
    landscape, where = _measuring(landscape, root, diagrams)
    check_forests(diagrams, landscape, getattr(what, "reading", None), where)
    if estimator not in NAMES:
        raise ArgumentError(f"Unknown estimator {estimator!r}; known are {', '.join(map(repr, NAMES))}.")
    effort = Effort.checked(replicates, rtol, budget)
    check_landscape(landscape)
    if landscape.reading == "conditional" and getattr(what, "quantity", None) == "gap":
        raise ArgumentError(
            "In the conditional reading test and train loss are measured on different data, so the gap is not a single "
            "series: evaluate the series of 'test_loss' and of 'train_loss', or use predict(..., quantity='gap')."
        )
    return _evaluated(
        diagrams,
        landscape,
        params,
        sampler_for(landscape, estimator, effort),
        basis=basis,
        root=where,
        chunk_size=None if chunk_size is None else check_integer("chunk_size", chunk_size, least=1),
        mesh=mesh,
        check_dtype=check_dtype,
        progress=progress,
        key=key,
    )


def evaluate_for(
    aim: Aim,
    diagrams: Iterable[Diagram],
    landscape: Landscape,
    params: PyTree,
    *,
    basis: str = "moment",
    root: str = "test",
    mesh: jax.sharding.Mesh | None = None,
    check_dtype: bool | None = None,
    progress: Progress | None = None,
    key: jax.Array | None = None,
) -> Values:
    """Evaluate diagrams as precisely as combinations of them are needed.

    Args:
        aim: the goals and the budget.
        diagrams: the diagrams.
        landscape, params, basis, root, mesh, check_dtype, progress, key: as in `evaluate`.

    Returns:
        As `evaluate`. The replicates of sampled values stand for twin pairings: as many as their standard error has
        degrees of freedom, and one more.
    """
    return _evaluated(
        list(diagrams),
        landscape,
        params,
        aimed_sampler_for(landscape, aim),
        basis=basis,
        root=root,
        mesh=mesh,
        check_dtype=check_dtype,
        progress=progress,
        key=key,
    )


def _evaluated(
    diagrams: list[Diagram],
    landscape: Landscape,
    params: PyTree,
    make_sampler: MakeSampler,
    *,
    basis: str,
    root: str,
    chunk_size: int | None = None,
    mesh: jax.sharding.Mesh | None,
    check_dtype: bool | None,
    progress: Progress | None,
    key: jax.Array | None,
) -> Values:
    check_mesh(mesh)
    shown = check_progress(progress)
    landscape, params = enter(landscape, params, update=True, noise=True)
    check_cells(diagrams, landscape, basis)
    plan = _plan_at(diagrams, basis, root, landscape, params)
    sizes = landscape.num_examples, landscape.num_test_examples, num_params(params)
    setting = Setting(*sizes, plan.ways, directed=landscape.update is not None)
    sampler = make_sampler(plan, setting)
    if sampler.sampled:
        does = "draws noise anew" if landscape.per_use_noise else "pairs examples at random"
        check_key(key, f"The value of {plan.asked_for(sampler.sampled[0])} {does}")
    landscape.validate(params, gradients=False)
    kinks = kinks_at(landscape, params, stacklevel=4)
    engine = Engine(landscape, params, chunk_size=chunk_size, mesh=mesh)
    check_dtype = not is_double(landscape, params) if check_dtype is None else check_dtype
    measurement = RoundingMeasurement(landscape, params, plan) if check_dtype else None
    try:
        numbers, kinds = sampler.estimate(engine, shown, key)
        rounding = Rounding() if measurement is None else measurement.finish(engine)
    except NotFiniteError as error:
        landscape.validate(params)  # if it is the gradient already, this says so
        raise error.explain(plan.asked_for(error.item)) from None
    return Values(
        plan.combine(numbers),
        basis,
        kinds=plan.kinds(kinds, KINDS),
        rounding=rounding.differences,
        root=root,
        not_measured=rounding.not_measured,
        origin=Origin.of(landscape, params),
        kinks=kinks,
    )


def plan(
    what: Any,
    landscape: Landscape | None = None,
    params: PyTree = None,
    *,
    basis: str | None = None,
    root: str | Measurement | None = None,
    reading: str | None = None,
    num_examples: int | None = None,
) -> Plan:
    """Plan an evaluation: which values are exact and which are paired, what is averaged first, and what it will cost.

    Nothing is computed. With a landscape and parameters it is the plan that `evaluate` would follow; without them, the
    costs are those of a model in which every example uses each weight many times, as in convolutions.

    Args:
        what: a `Series`, a diagram or an iterable of diagrams.
        landscape: the loss and its data, which decide about the reading, the number of examples and the costs.
        params: the point; needed with a landscape.
        basis: "moment" or "cumulant".
        root: in the conditional reading, whether untied roots are measured on "test" or "train" data; or a measurement.
        reading: "population", "unbiased" or "conditional"; that of the landscape, or else "population".
        num_examples: M, which matters to the weights of the unbiased and the conditional reading; that of the
            landscape, or else a million.

    Returns:
        A `Plan`, which prints.

    Raises:
        ArgumentError: an argument is invalid, or is given twice.
        LandscapeError: the loss or data are invalid, or there are fewer examples than parts.

    Examples:
        >>> import feyngd as fd
        >>> print(fd.plan(fd.diagrams(2)))
        4 diagrams, 3 distinct values: 2 exact, 1 paired (moment basis, population reading)
        averaged first (1): ⟨g_x⟩
        expected cost: 2 gradients, and 2 for every pairing
          [a a]    paired   h_x[g_y, g_y]
          [a b]    exact   ⟨g_x⟩∘⟨h_x[⟨g_x⟩]⟩
          [a[a]]   exact   g_x·h_x[⟨g_x⟩]
    """
    diagrams, basis, root = _requested(what, basis, root)
    if landscape is None:
        if params is not None:
            raise ArgumentError("Parameters are given without a landscape: give both, or neither.")
        reading = "population" if reading is None else reading
        if reading not in READINGS:
            raise ArgumentError(f"Unknown reading {reading!r}; the readings are {', '.join(map(repr, READINGS))}.")
        count = 10**6 if num_examples is None else check_integer("num_examples", num_examples, least=1)
        where = "measured" if isinstance(root, Measurement) else root
        return _own(_make_plan(tuple(diagrams), basis, reading, where, count))
    if reading is not None or num_examples is not None:
        raise ArgumentError("The landscape brings a reading and a number of examples: leave them out.")
    landscape, where = _measuring(landscape, root, diagrams)
    landscape, params = enter(landscape, params, update=True, noise=True)
    check_cells(diagrams, landscape, basis)
    return _own(_plan_at(diagrams, basis, where, landscape, params))


def _own(kept: Plan) -> Plan:
    """Return a plan for users to have: what they change in it must not reach later calls."""
    return replace(
        kept,
        values={diagram: dict(weights) for diagram, weights in kept.values.items()},
        numbers=dict(kept.numbers),
        ways={number: tuple(ways) for number, ways in kept.ways.items()},
    )


def _plan_at(diagrams: list[Diagram], basis: str, root: str, landscape: Landscape, params: PyTree) -> Plan:
    model = cost_model(landscape.loss, params, landscape.example_shapes)
    directed = landscape.update is not None
    return _make_plan(tuple(diagrams), basis, landscape.reading, root, landscape.num_examples, model, directed)


@lru_cache(maxsize=64)  # the search for a good plan takes longer than many a warm call
def _make_plan(
    diagrams: tuple[Diagram, ...],
    basis: str,
    reading: str,
    root: str,
    num_examples: int,
    model: CostModel = ARITHMETIC_BOUND,
    directed: bool = False,
) -> Plan:
    options: dict[str, Any] = {"basis": basis, "reading": reading, "root": root, "num_examples": num_examples}
    values = {diagram: terms_of_value(diagram, directed=directed, **options) for diagram in diagrams}
    return make_plan(values, basis, reading, model)


def _measuring(landscape: Any, root: str | Measurement, diagrams: Iterable[Diagram]) -> tuple[Any, str]:
    """Return the landscape with what is measured in it, and where untied roots are: on test, train or measured data."""
    if root == MEASURED and getattr(landscape, MEASURED, None) is None:
        raise ArgumentError("Nothing is measured on this landscape: give root=measurement(name, function).")
    if not isinstance(root, Measurement):
        return landscape, root
    if tied := next((diagram for diagram in diagrams if diagram.is_root_tied), None):
        raise ArgumentError(
            f"A measurement is not tied to training points, and the root of {tied} is: give diagrams with their roots "
            "alone."
        )
    check_landscape(landscape)
    return landscape.measuring(root), MEASURED


def _requested(
    what: Any, basis: str | None, root: str | Measurement | None
) -> tuple[list[Diagram], str, str | Measurement]:
    from ..series import Series

    if not isinstance(root, Measurement) and root not in (None, *ROOTS, MEASURED, JOINED):
        raise ArgumentError(
            f"Untied roots are measured on 'test' or 'train' data, or are a measurement(name, function); got {root!r}."
        )
    if isinstance(what, Series):
        if what.quantity == "displacement":
            raise ArgumentError("The values of a displacement are vectors of parameters, which evaluate does not give.")
        if basis not in (None, what.basis):
            raise ArgumentError(f"The series is in {what.basis}s, but basis={basis!r}: use series.in_basis({basis!r}).")
        if what.quantity == "covariance":
            raise ArgumentError(
                "The values of a covariance are matrices of parameters, which evaluate does not give: take its trace, "
                "'covariance_trace', or the variance of a measurement in a direction v, "
                "fd.variance(fd.measurement('v·θ', …))."
            )
        measured = what.quantity.measurement if isinstance(what.quantity, Variance) else what.quantity
        own = measured if isinstance(measured, Measurement) else None
        if root is None:
            on_train = what.quantity in ("train_loss", "train_loss_variance")
            root = JOINED if what.quantity == "covariance_trace" else own or ("train" if on_train else "test")
        return list(what), what.basis, root
    basis = "moment" if basis is None else basis
    check_basis(basis)
    single = isinstance(what, (Diagram, str)) or not isinstance(what, Iterable)
    diagrams = [what] if single else list(what)
    for diagram in diagrams:
        if not isinstance(diagram, Diagram):
            raise ArgumentError(
                f"Give a Series, a Diagram such as Diagram.parse('[a a]') or an iterable of Diagrams; got {diagram!r}."
            )
    return diagrams, basis, root or "test"
