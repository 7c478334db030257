"""The values of diagrams on a landscape."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._arguments import check_integer
from ..diagrams import Diagram, check_basis, value_representative
from ..errors import ArgumentError, LandscapeError
from ..landscapes import Landscape
from ..progress import Progress
from ._checks import check_key, check_landscape
from ._estimate import Values
from ._plan import Plan, plan_rooted, plan_value
from ._sweep import make_sweep


def evaluate(
    what: Any,
    landscape: Landscape,
    params: Any,
    *,
    basis: str | None = None,
    replicates: int = 16,
    chunk_size: int = 64,
    progress: Progress | None = None,
    key: jax.Array | None = None,
) -> Values:
    """Evaluate diagrams on a landscape.

    The moment value of a diagram is the mean over one independent example for each part of the contraction of the
    loss's derivatives along the edges. Values whose parts come apart into single averages are exact up to rounding.
    Where the parts are interleaved, every replicate pairs the examples of different parts by independent uniformly
    random permutations of the population, which is unbiased; the spread of the replicates gives the standard error.

    Args:
        what: a `Series`, a diagram or an iterable of diagrams.
        landscape: the loss and its population of M examples.
        params: the point, a pytree of floating-point arrays.
        basis: "moment" or "cumulant". A series brings its own; for diagrams the default is "moment".
        replicates: the number of random pairings, at least 2.
        chunk_size: the number of examples that are differentiated together; memory grows with it.
        progress: shows progress; silent by default.
        key: a JAX random key; needed when a value has interleaved parts.

    Returns:
        A mapping from diagrams to `Estimate`, in the unit of the loss.

    Raises:
        ArgumentError: the basis is unknown or not the series' own, there are too few replicates, or a key is needed.
        LandscapeError: the loss or data are unfit, or a derivative is not finite; names the diagram and the example.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Definition 4; the random pairing is the project's own.
    """
    diagrams, basis = _requested(what, basis)
    replicates = check_integer("replicates", replicates, least=2)
    chunk_size = check_integer("chunk_size", chunk_size, least=1)
    check_landscape(landscape)
    needed = {diagram: _moments(diagram, basis) for diagram in diagrams}
    shapes = sorted({shape for terms in needed.values() for shape, _ in terms})
    plans = {shape: plan_value(shape) for shape in shapes}
    paired = [shape for shape in shapes if plans[shape][1].num_parts > 1]
    if paired:
        check_key(key, f"The value of {paired[0]} pairs examples at random")
    landscape.validate(params)
    asked = {shape: diagram for diagram in reversed(diagrams) for shape, _ in needed[diagram]}
    engine = _Engine(landscape, params, min(chunk_size, landscape.num_examples))
    moments: dict[Diagram, np.ndarray] = {}
    sweeps = sum(replicates if plan.num_parts > 1 else 1 for _, plan in plans.values())
    with (progress or Progress()).task(sweeps, "values of diagrams") as task:
        for shape in shapes:
            rooted, plan = plans[shape]
            count = replicates if plan.num_parts > 1 else 1
            rows = []
            for replicate in range(count):
                rows.append(engine.mean(rooted, plan, _pairing_key(key, replicate, count), asked[shape]))
                task.advance()
            moments[shape] = np.array(rows)
    combined = {
        diagram: np.asarray(sum(weight * moments[shape] for shape, weight in terms))
        for diagram, terms in needed.items()
    }
    return Values(combined, basis)


def _requested(what: Any, basis: str | None) -> tuple[list[Diagram], str]:
    from ..series import Series

    if isinstance(what, Series):
        if basis not in (None, what.basis):
            raise ArgumentError(f"The series is in {what.basis}s, but basis={basis!r}: use series.in_basis({basis!r}).")
        return list(what), what.basis
    basis = "moment" if basis is None else basis
    check_basis(basis)
    single = isinstance(what, (Diagram, str)) or not isinstance(what, Iterable)
    diagrams = [what] if single else list(what)
    for diagram in diagrams:
        if not isinstance(diagram, Diagram):
            raise ArgumentError(
                f"Give a Series, a Diagram such as Diagram.parse('[a a]') or an iterable of Diagrams; got {diagram!r}."
            )
    return diagrams, basis


def _moments(diagram: Diagram, basis: str) -> list[tuple[Diagram, int]]:
    """Return the moment values that make a value, each by its representative, with their weights."""
    if basis == "moment":
        return [(value_representative(diagram), 1)]
    weights: dict[Diagram, int] = {}
    for finer, weight in diagram.refinements():
        shape = value_representative(finer)
        weights[shape] = weights.get(shape, 0) + weight
    return [(shape, weight) for shape, weight in weights.items() if weight]


def _pairing_key(key: jax.Array | None, replicate: int, count: int) -> jax.Array | None:
    return None if key is None or count == 1 else jax.random.fold_in(key, replicate)


class _Engine:
    """Runs sweeps at one point, keeping compiled sweeps and averaged vectors."""

    def __init__(self, landscape: Landscape, params: Any, chunk_size: int) -> None:
        self._landscape, self._chunk = landscape, chunk_size
        self._theta, self._loss = landscape.flatten(params)
        self._vectors: dict[Diagram, jax.Array] = {}
        self._sweeps: dict[tuple[Diagram, bool], Any] = {}

    def mean(self, rooted: Diagram, plan: Plan, key: jax.Array | None, asked: Diagram) -> float:
        """Return the mean over rows of a scalar plan; rows are the population, or one random pairing of it.

        `asked` is the diagram whose value is being computed, for error messages.
        """
        sums = self._run(rooted, plan, self._rows(plan.num_parts, key), asked, is_vector=False)
        return float(np.sum(np.asarray(sums, dtype=np.float64))) / self._landscape.num_examples

    def _vector(self, diagram: Diagram, asked: Diagram) -> jax.Array:
        if diagram not in self._vectors:
            sums = self._run(diagram, plan_rooted(diagram), self._rows(1, None), asked, is_vector=True)
            self._vectors[diagram] = jnp.sum(sums, axis=0) / self._landscape.num_examples
        return self._vectors[diagram]

    def _rows(self, parts: int, key: jax.Array | None) -> jax.Array:
        identity = jnp.arange(self._landscape.num_examples)
        if parts == 1 or key is None:
            return identity[None]
        # Pairs are uniform over the population's square already if one part stays in place.
        keys = jax.random.split(key, parts - 1)
        return jnp.stack([identity, *(jax.random.permutation(k, identity) for k in keys)])

    def _run(self, diagram: Diagram, plan: Plan, rows: jax.Array, asked: Diagram, *, is_vector: bool) -> jax.Array:
        vectors = [self._vector(inner, asked) for node in plan.core for inner in plan.vectors[node]]
        if (diagram, is_vector) not in self._sweeps:
            self._sweeps[diagram, is_vector] = make_sweep(self._loss, plan, is_vector=is_vector, chunk_size=self._chunk)
        sums, finite = self._sweeps[diagram, is_vector](self._theta, vectors, self._landscape.data, rows)
        if not bool(jnp.all(finite)):
            row = int(jnp.argmin(finite))
            examples = ", ".join(str(int(index)) for index in rows[:, row])
            rank = max(len(asked.children[node]) + (node > 0) for node in range(asked.order + 1))
            raise LandscapeError(
                f"The value of diagram {asked} is not finite at example {examples}: a derivative of the loss, of order "
                f"up to {rank}, is infinite, not a number or too large there. Check that the loss is smooth at these "
                "parameters, or use 64-bit floats."
            )
        if not bool(jnp.all(jnp.isfinite(jnp.sum(sums, axis=0)))):
            raise LandscapeError(
                f"The value of diagram {asked} is not finite: it is at every example, but the sum over examples is too "
                f"large for {sums.dtype}. Use 64-bit floats, or scale the loss."
            )
        return sums
