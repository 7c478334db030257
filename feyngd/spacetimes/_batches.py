"""Concrete runs of a spacetime: drawing them at random, and listing all of them with their probabilities."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, product
from math import prod

import numpy as np

Batches = tuple[tuple[int, ...], ...]


def sample_runs(
    sampling: str, N: int, B: int, T: int, epoch_steps: int, rng: np.random.Generator, runs: int
) -> np.ndarray:
    """Draw independent runs; the datapoints of every step, shape (runs, T, B).

    The smaller last batch of an epoch is filled up with its first point.
    """
    if sampling == "with-replacement":
        return rng.integers(0, N, size=(runs, T, B))
    points = np.arange(N)
    if sampling == "full-batch":
        return np.broadcast_to(points, (runs, T, N))
    epochs = -(-T // epoch_steps)
    order = np.broadcast_to(points, (runs, epochs, N))
    if sampling == "reshuffled":
        order = rng.permuted(order, axis=-1)
    slots = np.arange(epoch_steps * B)
    slots[N:] = (epoch_steps - 1) * B  # beyond the last point: the first one of the last batch
    return order[..., slots].reshape(runs, epochs * epoch_steps, B)[:, :T]


def outcomes(sampling: str, N: int, batch_sizes: Sequence[int], epoch_steps: int) -> Iterator[tuple[Fraction, Batches]]:
    """List every run of a scheme with its probability, up to the order within batches, which SGD does not see."""
    T = len(batch_sizes)
    if sampling == "with-replacement":
        B = batch_sizes[0] if T else 0
        for draws in product(product(range(N), repeat=B), repeat=T):
            yield Fraction(1, N ** (B * T)), draws
        return
    if sampling == "full-batch":
        yield Fraction(1), (tuple(range(N)),) * T
        return
    epochs = [tuple(batch_sizes[t : t + epoch_steps]) for t in range(0, T, epoch_steps)]
    if sampling == "fixed":
        yield Fraction(1), tuple(batch for sizes in epochs for batch in _in_order(sizes))
        return
    shuffles = {sizes: list(_ordered_batches(tuple(range(N)), sizes)) for sizes in set(epochs)}
    probability = Fraction(1, prod(len(shuffles[sizes]) for sizes in epochs))
    for chosen in product(*(shuffles[sizes] for sizes in epochs)):
        yield probability, tuple(batch for epoch in chosen for batch in epoch)


def _in_order(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Iterate over batches of some sizes of the points in their order."""
    first = 0
    for size in sizes:
        yield tuple(range(first, first + size))
        first += size


def _ordered_batches(points: tuple[int, ...], sizes: Sequence[int]) -> Iterator[Batches]:
    """Iterate over all ways to take disjoint batches of some sizes from the points."""
    if not sizes:
        yield ()
        return
    for batch in combinations(points, sizes[0]):
        rest = tuple(n for n in points if n not in batch)
        for others in _ordered_batches(rest, sizes[1:]):
            yield (batch, *others)
