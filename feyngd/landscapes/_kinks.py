"""Kinks of a loss, confirmed in numbers: where a small move of the parameters makes a derivative of the loss jump.

A search of the traced loss names suspects. Then the parameters are moved along a few lines, each example by itself:
down its own gradient, up it, and both ways in a random direction. Where a suspect decides otherwise at the end of a
line than at its beginning, the place is bisected, and value and derivatives along the line are compared on both sides.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ._checks import Loss
from ._double_run import Watch, run
from ._suspects import find_suspects, inner_jaxprs

REACH = 0.5  # how far parameters move, relative to their size
_EXAMPLES, _WORK = 256, 4_000_000  # examples looked at: at most, and times the number of parameters
_TRIES = 12  # crossings of a suspect that are tried
_START = 1e-9  # where lines begin, relative to their length: not at the parameters, which may be round numbers
_BISECTIONS, _BESIDE = 45, 1e-8  # halvings of a line, and how far from the kink derivatives are taken, relative to it
_FURTHER = (1e-4, 1e-6)  # the same for higher derivatives, where 0 / 0 loses more digits
_DISTANCES = np.array([-8.0, -4, -2, -1, 1, 2, 4, 8])  # of the points beside it
# What jumps of the value and of the first three derivatives must exceed, relative to what the loss does along the line.
# A relu is one of many, so little; a polynomial that stands in for 0 / 0 differs a bit in its higher derivatives.
_LEAST_JUMP = (1e-6, 1e-6, 1e-4, 1e-3)


@dataclass(frozen=True)
class Kink:
    """An operation of a loss at which a derivative by the parameters jumps.

    Attributes:
        operation: the operation: "relu", "max", "cond", "comparison times a value" and so on.
        source: the user's line, as "model.py:12 (apply)"; "" if unknown.
        order: the lowest derivative of the loss that jumps; 0 if the loss itself does.
        near: how many of the examples looked at have the kink within reach: moving the parameters by up to half their
            norm, or down to where the example's own loss would be least, crosses it.
        examples: how many examples were looked at, at most 256; 0 if that failed, and the kink is only suspected.
    """

    operation: str
    source: str
    order: int
    near: int
    examples: int

    def __str__(self) -> str:
        place = f" at {self.source}" if self.source else ""
        if not self.examples:
            return f"{self.operation}{place} (not looked at closely: the loss does not run in double precision)"
        what = ("the loss itself", "the first derivative", "the second derivative", "the third derivative")[self.order]
        near = f"{self.near} of {self.examples} example{'s' if self.examples > 1 else ''}"
        return f"{self.operation}{place} ({what} jumps, within reach of {near})"


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
        jaxpr = jax.make_jaxpr(lambda params, example: loss(params, example))(params, example)
    probe = _PROBES.get(jaxpr)
    if probe is None:
        probe = _PROBES[jaxpr] = _Probe(jaxpr, len(jax.tree.leaves(params)))
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


def _confirmed(probe: "_Probe", params: list[Any], data: list[Any]) -> tuple[Kink, ...]:
    total, size = int(data[0].shape[0]), sum(int(np.size(leaf)) for leaf in params)
    count = min(total, max(8, min(_EXAMPLES, _WORK // size)))
    rows = np.linspace(0, total - 1, count).astype(np.int64)
    look = _Look(probe, [np.asarray(leaf, np.float64) for leaf in params], [_picked(leaf, rows) for leaf in data])
    found: dict[tuple[str, str], Kink] = {}
    for index, suspect in enumerate(probe.suspects):
        order = look.order(index)
        if order is not None:
            near = int(look.crossed[:, :, index].any(axis=1).sum())
            key = suspect.operation, suspect.source
            if key not in found or order < found[key].order:
                found[key] = Kink(*key, order, near, count)
    return tuple(found.values())


class _Look:
    """One look at a loss: the lines from given parameters, by example, and where along them suspects change."""

    def __init__(self, probe: "_Probe", params: list[Any], sample: list[Any]) -> None:
        self._probe, self._params, self._sample = probe, params, sample
        self._random = _random_step(params)
        down, lengths = (jax.device_get(each) for each in probe.descents(params, sample, self._random))
        self._down = down
        # Each example's own way down and up, then the common random way there and back: factor and length.
        self._ways = [(1.0, lengths[:, 0]), (-1.0, lengths[:, 1])] + [
            (s, np.full(len(lengths), REACH)) for s in (1, -1)
        ]
        starts, ends = jax.device_get(probe.marks(params, sample, down, lengths, self._random))
        self.crossed = starts != ends  # (examples, lines, suspects)

    def order(self, index: int) -> int | None:
        """The lowest derivative that jumps where a suspect changes; `None` if none does at a few such places."""
        places = np.argwhere(self.crossed[:, :, index])
        if not len(places):
            return None
        held = self._probe.suspects[index].held
        tries = places[np.unique(np.linspace(0, len(places) - 1, _TRIES).astype(int))]
        narrowed = []
        for row, line in tries:
            narrowed.append(place := self._narrowed(row, line, index))
            jumps = _jumps(np.asarray(place.sides), place.length)
            if any(jumps[:1] if held else jumps):
                return jumps.index(True)
        for place in () if held else narrowed:
            for beside in _FURTHER:
                points = np.mean(place.points) + place.length * beside * _DISTANCES
                sides = self._probe.higher(self._params, place.example, place.step, points)
                jumps = _jumps(np.asarray(sides), place.length, diverging=beside == max(_FURTHER))
                if any(jumps):
                    return jumps.index(True)
        return None

    def _narrowed(self, row: int, line: int, index: int) -> "_Place":
        example = [leaf[row] for leaf in self._sample]
        factor, lengths = self._ways[line]
        step = [factor * leaf[row] for leaf in self._down] if line < 2 else [factor * leaf for leaf in self._random]
        points, sides = self._probe.narrowed(self._params, example, step, lengths[row], index)
        return _Place(example, step, float(lengths[row]), points, sides)


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
    # Once there is a jump worth the name, a clear one of a lower derivative counts however small it is.
    least_clear = 1e-9 * scale + 1e-13 * sizes[0]
    return [jumps[k] or bool(any(jumps[k:]) and clear[k] and jump[k] > least_clear[k]) for k in range(len(jumps))]


def _extrapolation(distances: np.ndarray) -> np.ndarray:
    """The weights with which values at some distances extrapolate to distance 0, by Lagrange's polynomial."""
    ratios = distances[None, :] / (distances[None, :] - distances[:, None] + np.eye(len(distances)))
    return np.prod(ratios + np.diag(1 - np.diag(ratios)), axis=1)


_TO_THE_PLACE, _TO_THE_PLACE_BY_THREE = _extrapolation(_DISTANCES[4:]), _extrapolation(_DISTANCES[4:7])


def _diverges(values: np.ndarray, least: float) -> bool:
    """Whether values at distances 1, 2, 4, 8 grow like a negative power of the distance, but for a constant."""
    near, middle, far = values[:-1] - values[1:]
    if abs(near) <= least or middle == 0 or far == 0:
        return False
    return bool(middle / far > 1.1 and abs(near / middle - middle / far) < 0.05 * middle / far)


class _Probe:
    """The compiled programs that look at one traced loss."""

    def __init__(self, closed: core.ClosedJaxpr, count: int) -> None:
        self._consts = list(closed.consts)
        self._block = find_suspects(closed, count)
        self.suspects = self._block.suspects()
        self._reverse = not _has_loops_of_unknown_length(closed.jaxpr)

    @cached_property
    def _descents(self) -> Callable[..., tuple[list[jax.Array], jax.Array]]:
        @jax.jit
        def descents(consts: list[Any], params: list[Any], sample: list[Any], random: list[Any]) -> Any:
            return jax.lax.map(lambda example: self._descent(consts, params, example, random), sample)

        return descents

    def descents(self, params: list[Any], sample: list[Any], random: list[Any]) -> tuple[list[jax.Array], jax.Array]:
        """Each example's direction of steepest descent, and how far to go down and up it, (examples, 2)."""
        return self._descents(self._consts, params, sample, random)

    @cached_property
    def _all_marks(self) -> Callable[..., tuple[jax.Array, jax.Array]]:
        @jax.jit
        def marks(
            consts: list[Any], params: list[Any], sample: list[Any], down: list[Any], lengths: Any, random: list[Any]
        ) -> Any:
            def one(operands: Any) -> Any:
                example, down, lengths = operands

                def ends(way: Any) -> Any:
                    factors, length = way
                    step = [factors[0] * d + factors[1] * r for d, r in zip(down, random, strict=True)]
                    return jax.lax.map(
                        lambda t: self._slope_and_marks(consts, params, example, step, t)[2],
                        length * jnp.array([_START, 1]),
                    )

                factors = jnp.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
                return jax.lax.map(ends, (factors, jnp.concatenate([lengths, jnp.full(2, REACH)])))

            found = jax.lax.map(one, (sample, down, lengths))
            return found[:, :, 0], found[:, :, 1]

        return marks

    def marks(
        self, params: list[Any], sample: list[Any], down: list[Any], lengths: jax.Array, random: list[Any]
    ) -> tuple[jax.Array, jax.Array]:
        """The marks of all suspects at the two ends of all lines, each (examples, lines, suspects)."""
        return self._all_marks(self._consts, params, sample, down, lengths, random)

    @cached_property
    def _narrowed(self) -> Callable[..., tuple[jax.Array, jax.Array]]:
        @jax.jit
        def narrowed(
            consts: list[Any], params: list[Any], example: list[Any], step: list[Any], length: Any, index: Any
        ) -> tuple[jax.Array, jax.Array]:
            # One loop does it all, so that the loss is compiled once: first the ends of the line, then the halvings,
            # then the points on the two sides.
            def turn(bracket: Any, what: Any) -> Any:
                (low, high), (number, offset) = bracket, what
                beside = jnp.where(offset < 0, low[0], high[0]) + offset * length
                is_end = number < 2
                t = jnp.where(is_end, offset * length, jnp.where(offset == 0, (low[0] + high[0]) / 2, beside))
                value, slope, marks = self._slope_and_marks(consts, params, example, step, t)
                new = t, slope, marks[index]
                # Where the suspect changes in both halves, go where the slope changes more.
                goes_left = jnp.where(
                    (new[2] == low[2]) | (new[2] == high[2]),
                    new[2] == high[2],
                    jnp.abs(new[1] - low[1]) >= jnp.abs(high[1] - new[1]),
                )
                is_low = jnp.where(is_end, number == 0, (offset == 0) & ~goes_left)
                is_high = jnp.where(is_end, number == 1, (offset == 0) & goes_left)
                low = tuple(jnp.where(is_low, n, old) for n, old in zip(new, low, strict=True))
                high = tuple(jnp.where(is_high, n, old) for n, old in zip(new, high, strict=True))
                return (low, high), (t, value, slope)

            offsets = np.concatenate([[_START, 1], np.zeros(_BISECTIONS), _BESIDE * _DISTANCES])
            nothing = jnp.zeros(()), jnp.zeros(()), jnp.uint32(0)
            _, (t, value, slope) = jax.lax.scan(
                turn, (nothing, nothing), (jnp.arange(len(offsets)), jnp.asarray(offsets))
            )
            last = slice(-len(_DISTANCES), None)
            return t[last], jnp.stack([value[last], slope[last]], axis=1)

        return narrowed

    def narrowed(
        self, params: list[Any], example: list[Any], step: list[Any], length: Any, index: int
    ) -> tuple[jax.Array, jax.Array]:
        """Points on the two sides of the place on a line where a suspect changes, and value and slope there, (8, 2)."""
        return self._narrowed(self._consts, params, example, step, length, index)

    @cached_property
    def _higher(self) -> Callable[..., jax.Array]:
        @jax.jit
        def higher(
            consts: list[Any], params: list[Any], example: list[Any], step: list[Any], t: jax.Array
        ) -> jax.Array:
            def value(t: jax.Array) -> list[jax.Array]:
                return [self._value(consts, _moved(params, step, t), example)]

            along: Callable[[jax.Array], list[jax.Array]] = value
            for _ in range(3):
                along = _with_next_derivative(along)
            return jax.lax.map(lambda t: jnp.stack(along(t)), t)

        return higher

    def higher(self, params: list[Any], example: list[Any], step: list[Any], points: Any) -> jax.Array:
        """The value and its first three derivatives along a line at some of its points, (points, 4)."""
        return self._higher(self._consts, params, example, step, points)

    def _value(self, consts: list[Any], params: list[Any], example: list[Any], watch: Watch | None = None) -> jax.Array:
        return jnp.asarray(run(self._block, consts, [*params, *example], watch)[0])

    def _slope_and_marks(
        self, consts: list[Any], params: list[Any], example: list[Any], step: list[Any], t: Any
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The value and its derivative along a line at one of its points, and the marks of all suspects there."""

        def value(t: jax.Array) -> Any:
            watch = Watch(self.suspects)
            value = self._value(consts, _moved(params, step, t), example, watch)
            return (value, watch.touching), watch.marks

        (value_there, _), (slope, touching), marks = jax.jvp(value, (t,), (jnp.ones_like(t),), has_aux=True)
        watch = Watch(self.suspects)
        watch.marks = marks
        for index, slopes in touching.items():
            for each in slopes:
                # What is singular at 0 touches 0 where it turns round.
                watch.note(self.suspects[index], each >= 0)
        return value_there, slope, watch.marks

    def _descent(self, consts: list[Any], params: list[Any], example: list[Any], random: list[Any]) -> Any:
        """An example's direction of steepest descent, and how far to go down and up it."""
        size = _norm(params)

        def value(moved: list[Any]) -> jax.Array:
            return self._value(consts, moved, example)

        def turn(state: Any, length: Any) -> Any:
            point, down = state
            if self._reverse:
                here, gradient = jax.value_and_grad(value)(point)
            else:  # reverse mode does not take such loops
                here, slope = jax.jvp(value, (point,), (random,))
                gradient = [slope * leaf for leaf in random]
            norm = _norm(gradient)
            usable = jnp.isfinite(norm) & (norm > 0)
            first = length > 0
            down = [
                jnp.where(first, jnp.where(usable, -leaf / jnp.where(usable, norm, 1), 0), old)
                for leaf, old in zip(gradient, down, strict=True)
            ]
            slope = sum(jnp.sum(leaf * part) for leaf, part in zip(gradient, down, strict=True))
            return (_moved(point, down, length), down), (here, slope, usable)

        short = 1e-3 * jnp.where(size > 0, size, 1)
        start = params, [jnp.zeros_like(leaf) for leaf in params]
        (_, down), (values, slopes, usable) = jax.lax.scan(turn, start, jnp.stack([short, jnp.zeros(())]))
        newton = jnp.abs(slopes[0]) * short / jnp.abs(slopes[1] - slopes[0])
        polyak = 1.5 * jnp.abs(values[0] / slopes[0])
        own = jnp.fmin(newton, polyak)  # down to the least loss of a parabola, or to no loss at all
        near = REACH * size
        return down, jnp.stack([jnp.where(usable[0] & jnp.isfinite(own), jnp.maximum(own, near), near), near])


def _with_next_derivative(function: Callable[[jax.Array], list[jax.Array]]) -> Callable[[jax.Array], list[jax.Array]]:
    def extended(t: jax.Array) -> list[jax.Array]:
        values, slopes = jax.jvp(function, (t,), (jnp.ones_like(t),))
        return [*values, slopes[-1]]

    return extended


def _picked(leaf: Any, rows: np.ndarray) -> Any:
    """Some examples, on the host, where nothing is compiled to pick them; random keys cannot go there."""
    return leaf[rows] if jnp.issubdtype(leaf.dtype, jax.dtypes.extended) else np.asarray(leaf)[rows]


def _moved(params: list[Any], step: list[Any], t: Any) -> list[Any]:
    return [leaf + t * part for leaf, part in zip(params, step, strict=True)]


def _norm(leaves: list[Any]) -> jax.Array:
    return jnp.sqrt(sum((jnp.sum(jnp.square(leaf)) for leaf in leaves), start=jnp.zeros(())))


def _random_step(params: list[Any]) -> list[np.ndarray]:
    """A random move of every leaf in proportion to its size, as long as the parameters; always the same one.

    Where all parameters are 0 they move by about 1 each.
    """
    rng = np.random.default_rng(0)
    values = [np.asarray(leaf) for leaf in params]
    sizes = [float(np.sqrt(np.mean(np.square(value)))) for value in values]
    whole = float(np.sqrt(np.mean(np.concatenate([np.square(value).ravel() for value in values])))) or 1.0
    noise = [(size or whole) * rng.normal(size=value.shape) for size, value in zip(sizes, values, strict=True)]
    norm = np.sqrt(sum(float(np.sum(np.square(part))) for part in noise))
    return [whole * np.sqrt(sum(value.size for value in values)) / norm * part for part in noise]


def _has_loops_of_unknown_length(jaxpr: core.Jaxpr) -> bool:
    return any(
        eqn.primitive.name == "while" or any(_has_loops_of_unknown_length(inner.jaxpr) for inner in inner_jaxprs(eqn))
        for eqn in jaxpr.eqns
    )


_PROBES: weakref.WeakKeyDictionary[core.ClosedJaxpr, _Probe] = weakref.WeakKeyDictionary()
