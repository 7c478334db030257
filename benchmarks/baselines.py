"""What others would do: estimate values from disjoint batches, or simulate."""

import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from math import perm, prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from by_hand import along, dot
from measuring import fastest_gradient, in_turns, once
from problems import problem
from targets import up_to, work

import feyngd as fd
from feyngd.landscapes import Landscape

Labels = tuple[int, ...]


def in_order(labels: Sequence[int]) -> Labels:
    """Return labels renamed 0, 1, … by first appearance."""
    names: dict[int, int] = {}
    return tuple(names.setdefault(label, len(names)) for label in labels)


def refinements(labels: Labels) -> Iterator[Labels]:
    """Iterate over the labels of all finer partitions, the partition itself among them."""
    seen = {in_order(fine) for fine in product(range(len(labels)), repeat=len(labels))}
    for fine in sorted(seen):
        if all(labels[i] == labels[fine.index(fine[i])] for i in range(len(labels))):
            yield fine


class Batches:
    """Products of the derivatives of batch means, for one draw of batches.

    Args:
        landscape: the loss.
        params: the point.
        batches: the batches, a pytree with leading axes (batch, n).
    """

    def __init__(self, landscape: Landscape, params: Any, batches: Any) -> None:
        self._loss, self._params, self._batches = landscape.loss, params, batches
        self._vectors: dict[tuple, Any] = {}

    def moment(self, parents: Labels, labels: Labels, n: int) -> jax.Array:
        """Return an unbiased estimate of a moment value: batch products combined by inclusion and exclusion.

        The product of means over one batch of n averages over equal and over different examples; what belongs to finer
        partitions is taken off.
        """
        total, own = self.product(parents, labels), 1.0
        for fine in refinements(labels):
            sizes = [
                (labels.count(part), len({fine[i] for i, p in enumerate(labels) if p == part})) for part in {*labels}
            ]
            weight = prod(perm(n, parts) / n**nodes for nodes, parts in sizes)
            if fine == labels:
                own = weight
            elif weight:
                total = total - weight * self.moment(parents, fine, n)
        return total / own

    def product(self, parents: Labels, labels: Labels) -> jax.Array:
        """Return the contraction of a tree whose node i holds the mean over batch labels[i]."""
        children = [[i for i, parent in enumerate(parents) if parent == node] for node in range(len(labels))]
        if not children[0]:
            return jnp.mean(jax.vmap(partial(self._loss, self._params))(self._batch(labels[0])))
        trees = [self._tree(child, children, labels) for child in children[0]]
        return dot(self._vector((labels[0], tuple(sorted(trees[1:])))), self._vector(trees[0]))

    def _tree(self, node: int, children: list, labels: Labels) -> tuple:
        return labels[node], tuple(sorted(self._tree(child, children, labels) for child in children[node]))

    def _batch(self, label: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[label], self._batches)

    def _vector(self, tree: tuple) -> Any:
        if tree not in self._vectors:
            label, below = tree

            def mean(params: Any) -> jax.Array:
                return jnp.mean(jax.vmap(partial(self._loss, params))(self._batch(label)))

            slope = jax.grad(mean)
            for inner in below:
                slope = along(slope, self._vector(inner))
            self._vectors[tree] = slope(self._params)
        return self._vectors[tree]


def disjoint_batches(name: str, n: int, draws: int = 512) -> dict[str, Any]:
    """Return what interleaved values of order ≤ 3 cost from four disjoint batches of n, against pairings.

    Costs are compared at equal standard error: time times variance, as a ratio.
    """
    landscape, params = problem(name)
    diagrams = [d for d in up_to(3) if d in interleaved(landscape, params)]

    @jax.jit
    def run(indices: jax.Array) -> jax.Array:
        def one(index: jax.Array) -> jax.Array:
            batches = Batches(landscape, params, jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], landscape.data))
            return jnp.stack([batches.moment(d.parents, in_order(d.labels), n) for d in diagrams])

        return jax.lax.map(one, indices, batch_size=max(1, 64 // n))

    rng = np.random.default_rng(0)
    indices = rng.integers(landscape.num_examples, size=(draws, 4, n))
    theirs = np.asarray(run(indices), dtype=float)
    _, paired = work((landscape, params), up_to(3))
    times = in_turns({"theirs": lambda: jax.block_until_ready(run(indices)), "ours": paired}, 3)
    values = fd.evaluate(
        diagrams, landscape, params, estimator="pairing", replicates=64, check_dtype=False, key=jax.random.key(0)
    )
    found = {}
    for column, diagram in zip(theirs.T, diagrams, strict=True):
        ours = values.replicates(diagram)
        off = (column.mean() - ours.mean()) / np.hypot(column.std() / draws**0.5, ours.std() / len(ours) ** 0.5)
        ratio = (column.var() * times["theirs"] / draws) / (ours.var() * times["ours"])
        found[str(diagram)] = {"ratio": float(ratio), "standard errors apart": float(off)}
    return found


def interleaved(landscape: Landscape, params: Any) -> list[fd.Diagram]:
    """Return the diagrams of order ≤ 3 whose values need pairs of examples."""
    plan = fd.plan(up_to(3), landscape, params)
    kinds = plan.kinds(dict.fromkeys(plan.exact, "exact") | dict.fromkeys(plan.paired, "pairing"))
    return [diagram for diagram, kind in kinds.items() if kind == "pairing"]


def simulations(name: str, steps: int = 100, runs: int = 2000) -> dict[str, Any]:
    """Return what a simulation costs, in gradients: the loss change to 1 %, and SGD less gradient descent to 10 %.

    Next to it the cost of all values of order ≤ 3, which serve every learning rate, and their errors.
    """
    warnings.simplefilter("ignore", fd.TruncationWarning)
    landscape, params = problem(name)
    unit = in_turns({"g": fastest_gradient(landscape, params)})["g"]
    both = fd.Spacetime.sgd(N=steps, B=1, E=1), fd.Spacetime.gd(N=steps, T=steps)
    wanted = sorted({diagram for one in both for diagram in fd.expand("test_loss", order=3, spacetime=one)})

    def evaluate() -> fd.Values:
        return fd.evaluate(wanted, landscape, params, check_dtype=False, key=jax.random.key(0))

    values = evaluate()
    ours = once(evaluate) / unit
    sgd, gd = (fd.predict(landscape, params, one, [1e-6], values=values) for one in both)
    rates = np.array([0.2, 0.5, 0.9]) * min(sgd.valid_up_to, gd.valid_up_to)

    def simulate(spacetime: fd.Spacetime, count: int = runs) -> fd.Simulation:
        return fd.simulate(landscape, params, spacetime, rates, runs=count, chunk_size=64, key=jax.random.key(1))

    ends, seconds = [], []
    for one in both:
        simulate(one, 64)
        start = time.perf_counter()
        ends.append(simulate(one).samples)
        seconds.append((time.perf_counter() - start) / (runs * len(rates)) / unit)
    gap_terms = (sgd.coefficients - gd.coefficients) @ (rates[:, None] ** np.arange(4)).T
    rows = []
    for i, rate in enumerate(rates):
        change = sgd.at(rate)[0] - sgd.at(0.0)[0]
        gap = gap_terms[:, i].mean()
        apart = ends[0][i] - ends[1][i]
        rows.append(
            {
                "rate": float(rate),
                "change": float(change),
                "gap": float(gap),
                "change to 1 %": float((ends[0][i].std() / (0.01 * change)) ** 2 * seconds[0]),
                "gap to 10 %": float((apart.std() / (0.1 * gap)) ** 2 * sum(seconds)),
                "our change": float(sgd.at(rate)[1] / abs(change)),
                "our gap": float(gap_terms[:, i].std(ddof=1) / len(gap_terms) ** 0.5 / abs(gap)),
                "truncation": float(abs(sgd.coefficients[:, 3].mean() * rate**3 / change)),
            }
        )
    return {"all values": ours, "one run": seconds, "rows": rows}
