"""The compiled programs that look at one traced loss: where examples lead, what suspects decide, how derivatives go."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ._double_run import Watch, run
from ._suspects import find_suspects, inner_jaxprs

REACH = 0.5  # how far parameters move, relative to their size
_START = 1e-9  # where lines begin, relative to their length: not at the parameters, which may be round numbers
_BISECTIONS, _BESIDE = 45, 1e-8  # halvings of a line, and how far from the kink derivatives are taken, relative to it
DISTANCES = np.array([-8.0, -4, -2, -1, 1, 2, 4, 8])  # of the points beside it


class Probe:
    """The compiled programs that look at one traced loss."""

    def __init__(self, closed: core.ClosedJaxpr, count: int) -> None:
        self._consts = list(closed.consts)
        self._block = find_suspects(closed, count)
        self.suspects = self._block.suspects()
        self.dtypes = [aval.dtype for aval in closed.in_avals]
        self._reverse = not _has_loops_of_unknown_length(closed.jaxpr)

    def groups(self, params: list[Any], example: list[Any]) -> list[int]:
        """What `nearest` can lead to: suspects by number, outside of loops, and -1 for all comparisons together."""
        if not self._reverse:
            return []
        return sorted(jax.eval_shape(lambda p, e: self._margins(self._consts, p, e), params, example))

    @cached_property
    def _descents(self) -> Callable[..., tuple[list[jax.Array], jax.Array, jax.Array]]:
        @jax.jit
        def descents(consts: list[Any], params: list[Any], sample: list[Any], random: list[Any]) -> Any:
            return jax.lax.map(lambda example: self._descent(consts, params, example, random), sample)

        return descents

    def descents(
        self, params: list[Any], sample: list[Any], random: list[Any]
    ) -> tuple[list[jax.Array], jax.Array, jax.Array]:
        """Each example's direction of steepest descent, how far to go down and up it, (examples, 2), and how steep."""
        return self._descents(self._consts, params, sample, random)

    @cached_property
    def _nearest(self) -> Callable[..., list[jax.Array]]:
        @jax.jit
        def nearest(
            consts: list[Any], params: list[Any], sample: list[Any], random: list[Any], group: jax.Array
        ) -> list[jax.Array]:
            def one(example: list[Any]) -> list[jax.Array]:
                def margins(moved: list[Any]) -> dict[int, jax.Array]:
                    return self._margins(consts, moved, example)

                found, slopes = jax.jvp(margins, (params,), (random,))
                groups = np.concatenate([np.full(found[each].size, each) for each in sorted(found)])
                values, moves = (jnp.concatenate([each[key] for key in sorted(found)]) for each in (found, slopes))
                chosen = jnp.argmin(jnp.where((groups == group) & (moves != 0), jnp.abs(values), jnp.inf))
                way = jnp.zeros_like(values).at[chosen].set(jnp.where(values[chosen] > 0, -1, 1))
                ends = np.cumsum([found[key].size for key in sorted(found)])[:-1]
                pull = jax.vjp(margins, params)[1]
                (gradient,) = pull(dict(zip(sorted(found), jnp.split(way, ends), strict=True)))
                norm = _norm(gradient)
                usable = jnp.isfinite(norm) & (norm > 0)
                return [jnp.where(usable, leaf / jnp.where(usable, norm, 1), 0) for leaf in gradient]

            return jax.lax.map(one, sample)

        return nearest

    def nearest(self, params: list[Any], sample: list[Any], random: list[Any], group: int) -> list[jax.Array]:
        """Each example's direction towards the nearest place where a group, one of `groups`, decides otherwise."""
        return self._nearest(self._consts, params, sample, random, group)

    def _margins(self, consts: list[Any], params: list[Any], example: list[Any]) -> dict[int, jax.Array]:
        watch = Watch(self.suspects)
        self._value(consts, params, example, watch)
        return {key: jnp.concatenate([jnp.ravel(each) for each in found]) for key, found in watch.margins.items()}

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
        self, params: list[Any], sample: list[Any], down: list[Any], lengths: Any, random: list[Any]
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

            offsets = np.concatenate([[_START, 1], np.zeros(_BISECTIONS), _BESIDE * DISTANCES])
            nothing = jnp.zeros(()), jnp.zeros(()), jnp.uint32(0)
            _, (t, value, slope) = jax.lax.scan(
                turn, (nothing, nothing), (jnp.arange(len(offsets)), jnp.asarray(offsets))
            )
            last = slice(-len(DISTANCES), None)
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
        lengths = jnp.stack([jnp.where(usable[0] & jnp.isfinite(own), jnp.maximum(own, near), near), near])
        return down, lengths, jnp.abs(slopes[0])


def _with_next_derivative(function: Callable[[jax.Array], list[jax.Array]]) -> Callable[[jax.Array], list[jax.Array]]:
    def extended(t: jax.Array) -> list[jax.Array]:
        values, slopes = jax.jvp(function, (t,), (jnp.ones_like(t),))
        return [*values, slopes[-1]]

    return extended


def _moved(params: list[Any], step: list[Any], t: Any) -> list[Any]:
    return [leaf + t * part for leaf, part in zip(params, step, strict=True)]


def _norm(leaves: list[Any]) -> jax.Array:
    return jnp.sqrt(sum((jnp.sum(jnp.square(leaf)) for leaf in leaves), start=jnp.zeros(())))


def _has_loops_of_unknown_length(jaxpr: core.Jaxpr) -> bool:
    return any(
        eqn.primitive.name == "while" or any(_has_loops_of_unknown_length(inner.jaxpr) for inner in inner_jaxprs(eqn))
        for eqn in jaxpr.eqns
    )
