"""Kinks of a loss, confirmed in numbers: where a small move of the parameters makes a derivative of the loss jump.

A search of the traced loss names suspects. Then the parameters are moved along lines, each example by itself: down
its own gradient, up it, and both ways in a random direction. Where a suspect decides otherwise at the end of a line
than at its beginning, the place is bisected, and value and derivatives along the line are compared on both sides.
Suspects that this does not convict of a jump of the value or the slope are looked at on further lines: down the
gradient of the mean loss, towards the nearest decision, along single parameters, and at random. An example that is
fitted exactly has no gradient of its own, and examples can have kinks of different orders: relu(z)² has a second one.
"""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ...derivatives import Loss, frozen_loss
from ...kinks import Kink
from ._probe import DISTANCES, REACH, Probe

_EXAMPLES, _WORK = 256, 4_000_000  # examples looked at: at most, and times the number of parameters
_TRIES, _LATER_TRIES = 12, 2  # crossings of a suspect that are tried: on the first lines, on each of the others
_GROUPS, _SINGLE, _RANDOM = 6, 24, 6  # further lines: towards decisions, along single parameters, at random
# How far lines towards a decision lead, relative to the size of the parameters, and how far past it. That is shorter
# than others, as no step of training aims so well, and a clip of probabilities would be met at many trained points.
_TOWARDS, _ASIDE = 0.3, 0.2
# How far from a kink derivatives are taken, relative to the line, for higher ones, where 0 / 0 loses more digits.
_FURTHER = (1e-4, 1e-6)
# What jumps of the value and of the first three derivatives must exceed, relative to what the loss does along the line.
# A relu is one of many, so little; a polynomial that stands in for 0 / 0 differs a bit in its higher derivatives.
_LEAST_JUMP = (1e-6, 1e-6, 1e-4, 1e-3)


def find_kinks(loss: Loss, params: Any, data: Any, *, jaxpr: core.ClosedJaxpr | None = None) -> tuple[Kink, ...]:
    """Find the operations of a loss whose kinks are within reach of the parameters.

    Guards stay silent: a maximum whose other side is never reached, a condition both sides of which agree. All is
    computed in double precision, whatever the precision of the loss. The random directions are always the same ones.

    Args:
        loss: `loss(params, example)`, a real scalar.
        params: the parameters, a pytree of floating-point arrays.
        data: the examples, a pytree of arrays that share their leading axis.
        jaxpr: the loss if it is traced already; its inputs are the leaves of the parameters, then those of one example.

    Returns:
        The kinks, in the order in which the loss comes upon them; empty if none is confirmed.
    """
    if jaxpr is None:
        example = jax.tree.map(lambda leaf: leaf[0], data)
        # A function of its own, since JAX keeps what it traced by the identity of functions, and they may have changed.
        traced = jax.make_jaxpr(lambda params, example: loss(params, example))(params, example)
        jaxpr = frozen_loss(loss, traced, loss).jaxpr  # an earlier trace, with its programs, if it is the same
    probe = _PROBES.get(jaxpr)
    if probe is None:
        probe = _PROBES[jaxpr] = Probe(jaxpr, len(jax.tree.leaves(params)))
    if not probe.suspects:
        return ()
    settings = jax.enable_x64(True), jax.debug_nans(False), jax.debug_infs(False)
    with (
        settings[0],
        settings[1],
        settings[2],
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        try:
            return _confirmed(probe, jax.tree.leaves(params), jax.tree.leaves(data))
        except Exception:  # a look at a loss must not bring down what it is meant for
            return tuple(dict.fromkeys(Kink(each.operation, each.source, 1, 0, 0) for each in probe.suspects))


def _confirmed(probe: Probe, params: list[Any], data: list[Any]) -> tuple[Kink, ...]:
    total, size = int(data[0].shape[0]), sum(int(np.size(leaf)) for leaf in params)
    count = min(total, max(8, min(_EXAMPLES, _WORK // size)))
    rows = np.linspace(0, total - 1, count).astype(np.int64)
    sample = [_picked(leaf, rows, dtype) for leaf, dtype in zip(data, probe.dtypes[len(params) :], strict=True)]
    look = _Look(probe, [np.asarray(leaf, np.float64) for leaf in params], sample)
    orders: dict[int, int] = {}
    near = np.zeros((count, len(probe.suspects)), bool)
    # Many examples show many decisions, so that few further lines will do.
    for number, lines in enumerate(look.lines(limit=_WORK // (count * size))):
        left = [index for index in range(len(probe.suspects)) if orders.get(index, 2) > 1]
        if not left:
            break
        near[:, left] |= lines.crossed[:, :, left].any(axis=1)
        for index in left:
            order = look.order(lines, index, first=number == 0)
            if order is not None:
                orders[index] = min(order, orders.get(index, order))
    found: dict[tuple[str, str], Kink] = {}
    for index, suspect in enumerate(probe.suspects):
        key = suspect.operation, suspect.source
        if index in orders and (key not in found or orders[index] < found[key].order):
            found[key] = Kink(*key, orders[index], int(near[:, index].sum()), count)
    return tuple(found.values())


@dataclass(frozen=True)
class _Lines:
    """Lines from given parameters, four for each example: both ways in its own direction, both ways in a common one.

    Attributes:
        own: directions by example, leaves (examples, ...).
        lengths: how far they go forth and back, (examples, 2).
        common: the common direction, as long as the parameters.
        crossed: which suspects change along them, (examples, 4, suspects).
    """

    own: list[Any]
    lengths: np.ndarray
    common: list[np.ndarray]
    crossed: np.ndarray

    def of(self, row: int, line: int) -> tuple[list[Any], float]:
        """The direction and the length of a line of an example."""
        sign = 1 - 2 * (line % 2)
        if line < 2:
            return [sign * leaf[row] for leaf in self.own], float(self.lengths[row, line])
        return [sign * leaf for leaf in self.common], REACH


class _Look:
    """One look at a loss: the lines from given parameters, and what happens where suspects change on them."""

    def __init__(self, probe: Probe, params: list[Any], sample: list[Any]) -> None:
        self._probe, self._params, self._sample = probe, params, sample

    def lines(self, limit: int) -> Iterator[_Lines]:
        """Give lines, the most telling ones first, and as many further ones as are allowed."""
        rng = np.random.default_rng(0)
        random = _random_step(self._params, rng)
        size = np.sqrt(sum(np.sum(leaf**2) for leaf in random))
        own, lengths, slopes = jax.device_get(self._probe.descents(self._params, self._sample, random))
        yield self._lines(own, lengths, random)
        count = len(lengths)
        reach = np.full((count, 2), REACH * size)
        # Down the mean loss: the directions of the examples have length 1.
        means = [np.tensordot(np.nan_to_num(slopes), leaf, 1) / count for leaf in own]
        steepest = np.sqrt(sum(np.sum(leaf**2) for leaf in means))
        commons = self._commons([[leaf * size / steepest for leaf in means]] if steepest > 0 else [], size, rng)
        for group in self._probe.groups(self._params, [leaf[0] for leaf in self._sample])[:_GROUPS]:
            towards = jax.device_get(self._probe.nearest(self._params, self._sample, random, group))
            # Not straight: places of more than one condition, such as a norm of 0, are never met by chance.
            aside = _unit_steps(random, count, rng)
            ways = [t + _ASIDE * a for t, a in zip(towards, aside, strict=True)]
            yield self._lines(ways, _TOWARDS / REACH * reach, next(commons))
        dimension = sum(np.size(leaf) for leaf in self._params)
        for _ in range(min(dimension + 1 if dimension <= _SINGLE else _RANDOM, limit)):
            yield self._lines(_unit_steps(random, count, rng), reach, next(commons))

    def _commons(self, first: list[Any], size: float, rng: np.random.Generator) -> Iterator[list[np.ndarray]]:
        """Give directions for all examples: those given, then single parameters if they are few, then random ones."""
        yield from first
        if sum(np.size(leaf) for leaf in self._params) <= _SINGLE:
            yield from _single_parameters(self._params, size)
        while True:
            yield _random_step(self._params, rng)

    def _lines(self, own: list[Any], lengths: np.ndarray, common: list[np.ndarray]) -> _Lines:
        starts, ends = jax.device_get(self._probe.marks(self._params, self._sample, own, lengths, common))
        return _Lines(own, lengths, common, starts != ends)

    def order(self, lines: _Lines, index: int, *, first: bool) -> int | None:
        """The lowest derivative that jumps where a suspect changes; `None` if none does at a few such places.

        On further lines only clear jumps of the value and the slope count: what rounding does to 0 / 0 can look like
        one of a higher derivative, or like growth beyond bounds, if one only looks often enough.
        """
        places = np.argwhere(lines.crossed[:, :, index])
        if not len(places):
            return None
        held = self._probe.suspects[index].held
        tries = np.linspace(0, len(places) - 1, _TRIES if first else _LATER_TRIES)
        narrowed = []
        for row, line in places[np.unique(tries.astype(int))]:
            narrowed.append(place := self._narrowed(lines, row, line, index))
            jumps = _jumps(np.asarray(place.sides), place.length, diverging=first)
            if any(jumps[:1] if held else jumps):
                return jumps.index(True)
        for place in narrowed if first and not held else ():
            for beside in _FURTHER:
                points = np.mean(place.points) + place.length * beside * DISTANCES
                sides = self._probe.higher(self._params, place.example, place.step, points)
                jumps = _jumps(np.asarray(sides), place.length, diverging=beside == max(_FURTHER))
                if any(jumps):
                    return jumps.index(True)
        return None

    def _narrowed(self, lines: _Lines, row: int, line: int, index: int) -> "_Place":
        example = [leaf[row] for leaf in self._sample]
        step, length = lines.of(row, line)
        points, sides = self._probe.narrowed(self._params, example, step, length, index)
        return _Place(example, step, length, points, sides)


@dataclass(frozen=True)
class _Place:
    """Where a suspect changes on a line: the example, the line, points on the two sides, value and slope at them."""

    example: list[Any]
    step: list[Any]
    length: float
    points: jax.Array
    sides: jax.Array


def _jumps(sides: np.ndarray, length: float, *, diverging: bool = True) -> list[bool]:
    """Whether value and derivatives jump, or grow beyond bounds, between four points on each side of a place.

    Args:
        sides: value and derivatives at eight points, those at distances 8, 4, 2, 1 before and 1, 2, 4, 8 behind the
            place, (8, orders + 1).
        length: the length of the line, which makes derivatives comparable.
        diverging: whether growth beyond bounds counts. What rounding does to 0 / 0 grows too, close by.
    """
    if not np.all(np.isfinite(sides)):
        return [False] * sides.shape[1]
    scaled = sides * length ** np.arange(sides.shape[1])
    before, behind = scaled[3::-1], scaled[4:]  # from near to far
    sizes = np.abs(scaled).max(axis=0)
    scale = np.concatenate([sizes[1:2], np.cumsum(sizes[1:])])  # what the loss does to first order, to second and so on
    least = np.array(_LEAST_JUMP[: sides.shape[1]]) * scale + 1e-13 * sizes[0]
    jump = np.abs(_TO_THE_PLACE @ (before - behind))
    # A smooth function changes little on each side, and its extrapolation to the place is good; what rounding has
    # spoilt has neither.
    unsure = np.abs(_TO_THE_PLACE_BY_THREE @ before[:3] - _TO_THE_PLACE @ before)
    unsure += np.abs(_TO_THE_PLACE_BY_THREE @ behind[:3] - _TO_THE_PLACE @ behind)
    clear = (jump > np.ptp(before, axis=0) + np.ptp(behind, axis=0)) & (jump > 10 * unsure)
    jumps = [
        bool(clear[k] and jump[k] > least[k])
        or (diverging and any(_diverges(side[:, k], least[k]) for side in (before, behind)))
        for k in range(sides.shape[1])
    ]
    # Once there is a jump that counts, a clear jump of a lower derivative counts however small it is.
    least_clear = 1e-9 * scale + 1e-13 * sizes[0]
    return [jumps[k] or bool(any(jumps[k:]) and clear[k] and jump[k] > least_clear[k]) for k in range(len(jumps))]


def _extrapolation(distances: np.ndarray) -> np.ndarray:
    """The weights with which values at some distances extrapolate to distance 0, by Lagrange's polynomial."""
    ratios = distances[None, :] / (distances[None, :] - distances[:, None] + np.eye(len(distances)))
    return np.prod(ratios + np.diag(1 - np.diag(ratios)), axis=1)


_TO_THE_PLACE, _TO_THE_PLACE_BY_THREE = _extrapolation(DISTANCES[4:]), _extrapolation(DISTANCES[4:7])


def _diverges(values: np.ndarray, least: float) -> bool:
    """Whether values at distances 1, 2, 4, 8 grow like a negative power of the distance, but for a constant."""
    near, middle, far = values[:-1] - values[1:]
    if abs(near) <= least or middle == 0 or far == 0:
        return False
    return bool(middle / far > 1.1 and abs(near / middle - middle / far) < 0.05 * middle / far)


def _picked(leaf: Any, rows: np.ndarray, dtype: Any) -> Any:
    """Some examples, on the host, where nothing is compiled to pick them; random keys cannot go there.

    Integers are of the type that the loss was traced with, as NumPy's are wider.
    """
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf[rows]
    picked = np.asarray(leaf)[rows]
    return picked if jnp.issubdtype(picked.dtype, jnp.inexact) else picked.astype(dtype)


def _random_step(params: list[Any], rng: np.random.Generator) -> list[np.ndarray]:
    """A random move of every leaf in proportion to its size, as long as the parameters.

    Where all parameters are 0 they move by about 1 each.
    """
    values = [np.asarray(leaf) for leaf in params]
    sizes = [float(np.sqrt(np.mean(np.square(value)))) for value in values]
    whole = float(np.sqrt(np.mean(np.concatenate([np.square(value).ravel() for value in values])))) or 1.0
    noise = [(size or whole) * rng.normal(size=value.shape) for size, value in zip(sizes, values, strict=True)]
    norm = np.sqrt(sum(float(np.sum(np.square(part))) for part in noise))
    return [whole * np.sqrt(sum(value.size for value in values)) / norm * part for part in noise]


def _unit_steps(like: list[np.ndarray], count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Random moves of length 1, one for each example, of every leaf in proportion to that of another move."""
    steps = [rng.normal(size=(count, *leaf.shape)) * np.sqrt(np.mean(leaf**2)) for leaf in like]
    norms = np.sqrt(sum(np.sum(step.reshape(count, -1) ** 2, axis=1) for step in steps))
    return [step / norms.reshape(count, *(1,) * (step.ndim - 1)) for step in steps]


def _single_parameters(params: list[Any], size: float) -> Iterator[list[np.ndarray]]:
    """Moves of one parameter after the other, as long as all parameters together."""
    for number, leaf in enumerate(params):
        for entry in range(np.size(leaf)):
            moves = [np.zeros(np.shape(each)) for each in params]
            moves[number].flat[entry] = size
            yield moves


_PROBES: weakref.WeakKeyDictionary[core.ClosedJaxpr, Probe] = weakref.WeakKeyDictionary()
