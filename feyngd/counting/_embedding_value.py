"""The re-summed value of one embedding: the product of its edges' propagators, contracted."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from ..diagrams import CellDiagram, Diagram, check_one_root
from ..errors import ArgumentError
from ..optimizers import PLAIN, Optimizer, Recurrence, check_optimizer
from ..spacetimes import Spacetime, check_spacetime, one_run

Cell = tuple[int, int]


def embedding_value(
    diagram: Diagram,
    embedding: Mapping[int, Cell],
    spacetime: Spacetime,
    eigenvalues: Sequence[Any],
    learning_rate: Any,
    *,
    values: Any = None,
    optimizer: Optimizer = PLAIN,
) -> Any:
    """Return the re-summed value of a diagram in one embedding, rvalue_f(D).

    The edge from a child at step s to its parent at step t stands for all chains of untied Hessians in its place. In
    the eigenbasis of the Hessian H of the mean loss they add up to the propagator η K(t, s), for plain SGD
    (1 − ηh)^(t−s−1) η. Edges to the root end after the last step, T. Neither 1/|Aut D| nor (−1/B)^order is included:
    for batches of one size, times these the sum over `embeddings(diagram, spacetime, basis="cumulant")` is
    `ResummedSeries.coefficient` of an irreducible diagram.

    Args:
        diagram: the diagram.
        embedding: for every non-root node its cell (datapoint, step), as `embeddings` lists them. Nodes of different
            parts may share a datapoint. Where batches are random, any datapoint may be in any step.
        spacetime: a concrete spacetime.
        eigenvalues: for the edge above every non-root node, in order, an eigenvalue of H, or an array of them; arrays
            broadcast. With `values`, all p eigenvalues of H.
        learning_rate: η.
        values: the diagram's value with its edges open, in cumulants: shape (p, …, p), an axis for the edge above every
            non-root node, in components along the eigenvectors. By default 1, so that the result is the product of the
            propagators.
        optimizer: plain SGD by default.

    Returns:
        A number, or an array if eigenvalues are arrays; exact for integers, fractions and SymPy expressions.

    Raises:
        ArgumentError: `embedding` is not an embedding of the diagram, the numbers of eigenvalues or the shape of
            `values` do not fit the edges, or the optimizer does not fit the number of steps.
        SpacetimeError: the spacetime has symbols.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Definition 6, in exact discrete time; optimizers are the
        project's own.

    Examples:
        >>> import feyngd as fd
        >>> from sympy import symbols
        >>> D, S, (h, k, eta) = fd.Diagram.parse("[a a]"), fd.Spacetime.sgd(N=4), symbols("h k eta")
        >>> fd.embedding_value(D, {1: (1, 1), 2: (1, 1)}, S, [h, k], eta)  # two steps before the end
        eta**2*(-eta*h + 1)**2*(-eta*k + 1)**2
    """
    if isinstance(diagram, CellDiagram) or not isinstance(diagram, Diagram):
        raise ArgumentError(f"A Diagram without cells is placed, such as Diagram.parse('[a b]'); got {diagram!r}.")
    check_one_root(diagram, "placed")
    check_spacetime(spacetime)
    spacetime.require_concrete("An embedding has a value")
    check_optimizer(optimizer)
    steps = int(spacetime.T)
    _check_placed(diagram, embedding, spacetime)
    rate, spectra = _number(learning_rate, "The learning rate"), _per_edge(diagram, eigenvalues, values)
    run = optimizer.recurrence(steps)
    weights: Sequence[Any] = [0] * (steps - 1) + [1]
    if optimizer.average is not None:
        weights = optimizer.average.over_steps(steps)
    propagators = []
    for node, curvature in zip(range(1, diagram.order + 1), spectra, strict=True):
        s, parent = embedding[node][1], diagram.parents[node]
        t, damping = embedding[parent][1] if parent else None, rate * curvature
        if optimizer.is_plain:
            propagators.append(rate * (1 - damping) ** ((steps if t is None else t) - s - 1))
        else:
            propagators.append(rate * _propagator(run, weights, s, t, damping))
    if values is None:
        product: Any = Fraction(1)
        for factor in propagators:
            product = product * factor
        return product
    rest = np.asarray(values)
    for factor in propagators:
        rest = np.tensordot(rest, factor, axes=(0, 0))
    return rest[()]


def _propagator(run: Recurrence, weights: Sequence[Any], s: int, t: int | None, damping: Any) -> Any:
    """Return K(t, s) in units of η: follow what a gradient at step s does while all later ones answer by H.

    Args:
        run: the optimizer over the run.
        weights: of the iterates after 1, 2, … steps in the point of measurement.
        s: the step of the child.
        t: the later step of the parent, or `None` for the point of measurement.
        damping: ηh.
    """
    position, memory = run.direct[s] + 0 * damping, run.gain[s] + 0 * damping
    if t is None:
        measured = weights[s] * position
    for step in range(s + 1, run.steps if t is None else t):
        answer = damping * position
        position = position - run.direct[step] * answer + run.readout[step] * memory
        memory = run.decay[step] * memory - run.gain[step] * answer
        if t is None:
            measured = measured + weights[step] * position
    return measured if t is None else position


def _check_placed(diagram: Diagram, embedding: Mapping[int, Cell], spacetime: Spacetime) -> None:
    """Raise `ArgumentError` unless the embedding places the diagram, in the cumulant basis, in a run."""
    nodes = range(1, diagram.order + 1)
    if not isinstance(embedding, Mapping) or set(embedding) != set(nodes):
        given = sorted(embedding, key=repr) if isinstance(embedding, Mapping) else repr(embedding)
        raise ArgumentError(f"An embedding of {diagram} is a dict whose keys are the nodes {list(nodes)}, got {given}.")
    random = spacetime.is_random
    visited = None if random else {(n, t) for t, batch in enumerate(one_run(spacetime)) for n in batch}
    first: dict[int, int] = {}
    for node in nodes:
        cell, parent, part = embedding[node], diagram.parents[node], diagram.labels[node]
        if not _is_cell(cell, spacetime) or (visited is not None and cell not in visited):
            raise ArgumentError(
                f"Node {node} is placed in {cell!r}, which SGD does not visit: a cell is a pair (datapoint, step) of "
                f"{spacetime}, with datapoints below {spacetime.N} and steps below {spacetime.T}."
            )
        if parent and cell[1] >= embedding[parent][1]:
            raise ArgumentError(
                f"Node {node} is placed at step {cell[1]} and its parent, node {parent}, at step "
                f"{embedding[parent][1]}: a child is strictly earlier than its parent."
            )
        tied = first.setdefault(part, node)
        if embedding[tied][0] != cell[0]:
            raise ArgumentError(
                f"Nodes {tied} and {node} are tied but placed on datapoints {embedding[tied][0]} and {cell[0]}: tied "
                "nodes share the datapoint."
            )


def _is_cell(cell: object, spacetime: Spacetime) -> bool:
    """Whether an object is a pair of a datapoint and a step of the spacetime."""
    if not isinstance(cell, tuple) or len(cell) != 2:
        return False
    if any(isinstance(place, bool) or not hasattr(place, "__index__") for place in cell):
        return False
    return 0 <= cell[0] < int(spacetime.N) and 0 <= cell[1] < int(spacetime.T)


def _per_edge(diagram: Diagram, eigenvalues: Sequence[Any], values: Any) -> list[Any]:
    """Return the eigenvalues of every edge: with values the whole spectrum for each."""
    if isinstance(eigenvalues, str) or not isinstance(eigenvalues, Iterable):
        raise ArgumentError(f"Eigenvalues are a list, one for every edge of {diagram}; got {eigenvalues!r}.")
    found = list(eigenvalues)
    if values is None:
        if len(found) != diagram.order:
            raise ArgumentError(
                f"{diagram} has {diagram.order} edges, each with an eigenvalue; got {len(found)} of them. To contract "
                "with all eigenvalues of H on every edge, give values=…."
            )
        return [_number(h, "An eigenvalue") for h in found]
    shape = (len(found),) * diagram.order
    if np.shape(values) != shape:
        raise ArgumentError(
            f"The value of {diagram} has an axis of {len(found)} eigenvectors for each of its {diagram.order} edges: "
            f"shape {shape}, got {np.shape(values)}."
        )
    spectrum = np.array([_number(h, "An eigenvalue") for h in found], dtype=object)
    if not any(isinstance(h, (Fraction, sympy.Expr)) for h in spectrum):
        spectrum = spectrum.astype(float)
    return [spectrum] * diagram.order


def _number(value: Any, what: str) -> Any:
    """Return a number that stays exact if it is: a fraction, a SymPy expression, or an array of floats."""
    if isinstance(value, (int, Fraction)) and not isinstance(value, bool):
        return Fraction(value)
    if isinstance(value, sympy.Expr):
        return value
    try:
        numbers = None if isinstance(value, (str, bool)) else np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        numbers = None
    if numbers is None or not np.all(np.isfinite(numbers)):
        raise ArgumentError(
            f"{what} is a finite number, an array of them or a SymPy expression such as symbols('h'); got {value!r}."
        )
    return numbers
