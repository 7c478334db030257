"""Concrete runs of a spacetime: drawing them at random, and listing all of them with their probabilities."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, permutations, product
from math import factorial

import numpy as np

Batches = tuple[tuple[int, ...], ...]


def sample_runs(sampling: str, N: int, B: int, T: int, rng: np.random.Generator, runs: int) -> np.ndarray:
    """Draw independent runs; the datapoints of every step, shape (runs, T, B)."""
    if sampling == "with-replacement":
        return rng.integers(0, N, size=(runs, T, B))
    points = np.arange(N)
    if sampling == "full-batch":
        return np.broadcast_to(points, (runs, T, N))
    epochs = T * B // N
    order = np.broadcast_to(points, (runs, epochs, N))
    if sampling == "reshuffled":
        order = rng.permuted(order, axis=-1)
    return order.reshape(runs, T, B)


def outcomes(sampling: str, N: int, B: int, T: int) -> Iterator[tuple[Fraction, Batches]]:
    """List every run of a scheme with its probability, up to the order within batches, which SGD does not see."""
    if sampling == "with-replacement":
        for draws in product(product(range(N), repeat=B), repeat=T):
            yield Fraction(1, N ** (B * T)), draws
        return
    if sampling == "full-batch":
        yield Fraction(1), (tuple(range(N)),) * T
        return
    epochs, steps = T * B // N, N // B
    if sampling == "fixed":
        yield Fraction(1), tuple(tuple(range(i * B, (i + 1) * B)) for i in range(steps)) * epochs
        return
    shuffles = list(_ordered_batches(tuple(range(N)), B))
    probability = Fraction(factorial(B) ** steps, factorial(N)) ** epochs
    for chosen in product(shuffles, repeat=epochs):
        yield probability, tuple(batch for epoch in chosen for batch in epoch)


def _ordered_batches(points: tuple[int, ...], B: int) -> Iterator[Batches]:
    if B == 1:
        for order in permutations(points):
            yield tuple((n,) for n in order)
        return
    if not points:
        yield ()
        return
    for batch in combinations(points, B):
        rest = tuple(n for n in points if n not in batch)
        for others in _ordered_batches(rest, B):
            yield (batch, *others)
