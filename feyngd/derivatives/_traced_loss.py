"""A loss, traced once: its convolutions rewritten, and its weight matrices opened up.

A *site* is a weight matrix that the loss uses once, in a product with activations. Its gradient for one example is a
product too, of the activations and of the cotangents behind it, and far smaller in that form than as a matrix. So a
traced loss can be run with something added behind every site, and returns the activations in front of it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from ._convolutions import convolve, is_plain
from ._equations import bind
from ._loss import Loss

_Behind = Callable[[int, Array], Array | None]  # what TracedLoss calls at a site
Path = tuple[int, ...]  # where an equation is: its index, and those of the calls around it
_CALLS = ("jit", "pjit")
_GAIN = 2  # how much smaller factors have to be than the matrix


@dataclass(frozen=True)
class Site:
    """A weight matrix that is used once.

    Attributes:
        leaf: the index of the parameter.
        path: where the product is.
        side: which operand of the product the weights are, 0 or 1.
        transposed: whether the parameter is transposed before the product.
        rows: the number of activation vectors P.
        inputs: the number of contracted entries.
        outputs: the number of other entries.
        is_fixed: whether the activations do not depend on the parameters.
    """

    leaf: int
    path: Path
    side: int
    transposed: bool
    rows: int
    inputs: int
    outputs: int
    is_fixed: bool


class TracedLoss:
    """A loss as a function of the leaves of its parameters, run equation by equation.

    Args:
        loss: loss(params, example) → scalar.
        params: parameters, arrays or shapes.
        example: one example, arrays or shapes.
    """

    def __init__(self, loss: Loss, params: PyTree, example: PyTree) -> None:
        self._jaxpr = jax.make_jaxpr(loss)(params, example)
        leaves = jax.tree.leaves(params)
        search = _Search(len(leaves))
        search.go(self._jaxpr.jaxpr, {v: (i, False) for i, v in enumerate(self._jaxpr.jaxpr.invars[: len(leaves)])}, ())
        self.sites = search.sites()
        self._by_path = {site.path: index for index, site in enumerate(self.sites)}

    def __call__(
        self,
        leaves: Sequence[ArrayLike],
        example: PyTree,
        added: Callable[[int, Float[Array, "rows inputs"]], Float[Array, "rows outputs"]] | None = None,
    ) -> tuple[Any, list[Float[Array, "_ _"]]]:
        """Return the loss, and the activations in front of every site, arrays of shape (rows, inputs).

        Args:
            leaves: the parameters.
            example: the example.
            added: from the index of a site and its activations to what is added behind it.
        """
        activations: list[Any] = [None] * len(self.sites)

        def behind(index: int, x: Float[Array, "rows inputs"]) -> Float[Array, "rows outputs"] | None:
            activations[index] = x
            return None if added is None else added(index, x)

        arguments = [*leaves, *jax.tree.leaves(example)]
        (value,) = self._run(self._jaxpr.jaxpr, self._jaxpr.consts, arguments, (), behind)
        return value, activations

    def _run(
        self, jaxpr: core.Jaxpr, consts: Sequence[Any], arguments: Sequence[Any], path: Path, behind: _Behind
    ) -> list[Any]:
        values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))
        for index, eqn in enumerate(jaxpr.eqns):
            inputs = [atom.val if isinstance(atom, core.Literal) else values[atom] for atom in eqn.invars]
            here = (*path, index)
            if here in self._by_path:
                outputs = [self._product(eqn, inputs, self._by_path[here], behind)]
            elif is_plain(eqn) and jax.default_backend() == "cpu":
                outputs = [convolve(inputs[0], inputs[1], eqn.params)]
            elif eqn.primitive.name in _CALLS:
                inner = eqn.params["jaxpr"]
                outputs = self._run(inner.jaxpr, inner.consts, inputs, here, behind)
            else:
                outputs = bind(eqn, inputs)
            values |= zip(eqn.outvars, outputs, strict=True)
        return [atom.val if isinstance(atom, core.Literal) else values[atom] for atom in jaxpr.outvars]

    def _product(self, eqn: core.JaxprEqn, inputs: list[Any], index: int, behind: _Behind) -> Array:
        site = self.sites[index]
        (contracted, _) = eqn.params["dimension_numbers"]
        (result,) = bind(eqn, inputs)
        x, axes = inputs[1 - site.side], contracted[1 - site.side]
        free = [axis for axis in range(x.ndim) if axis not in axes]
        more = behind(index, jnp.transpose(x, (*free, *axes)).reshape(site.rows, site.inputs))
        if more is None:
            return result
        weight_axes = [n for axis, n in enumerate(inputs[site.side].shape) if axis not in contracted[site.side]]
        shape = [x.shape[axis] for axis in free]
        if site.side == 1:
            return result + more.reshape(*shape, *weight_axes)
        return result + more.T.reshape(*weight_axes, *shape)


def with_products(loss: Loss) -> Loss:
    """Return a loss with its convolutions rewritten as products, for runs that have kernels of their own."""

    def rewritten(params: PyTree, example: PyTree) -> Any:
        shapes = (
            jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), tree)
            for tree in (params, example)
        )
        return TracedLoss(loss, *shapes)(jax.tree.leaves(params), example)[0]

    return rewritten


class _Search:
    """Finds the sites of a jaxpr."""

    def __init__(self, count: int) -> None:
        self._uses = [0] * count
        self._found: list[Site] = []

    def sites(self) -> tuple[Site, ...]:
        """Return the sites worth opening up."""
        return tuple(
            site
            for site in self._found
            if self._uses[site.leaf] == 1
            and _GAIN * site.rows * (site.inputs + site.outputs) <= site.inputs * site.outputs
        )

    def go(self, jaxpr: core.Jaxpr, leaves: dict[Any, tuple[int, bool]], path: Path, moved: set | None = None) -> None:
        """Go through equations; `leaves` are variables that hold a parameter, `moved` those that depend on any."""
        moved = set(leaves) if moved is None else moved
        for index, eqn in enumerate(jaxpr.eqns):
            variables = [atom for atom in eqn.invars if not isinstance(atom, core.Literal)]
            here = (*path, index)
            if any(v in moved for v in variables):
                moved.update(eqn.outvars)
            held = [(position, leaves[v]) for position, v in enumerate(eqn.invars) if _in(v, leaves)]
            if not held and eqn.primitive.name not in _CALLS:
                continue
            if eqn.primitive.name in _CALLS:
                inner = eqn.params["jaxpr"].jaxpr
                pairs = list(zip(inner.invars, eqn.invars, strict=True))
                self.go(
                    inner,
                    {ours: leaves[theirs] for ours, theirs in pairs if _in(theirs, leaves)},
                    here,
                    {ours for ours, theirs in pairs if _in(theirs, moved)},
                )
            elif eqn.primitive.name == "transpose" and len(eqn.params["permutation"]) == 2:
                leaf, transposed = held[0][1]
                leaves[eqn.outvars[0]] = leaf, transposed != (eqn.params["permutation"] == (1, 0))
            else:
                for position, (leaf, transposed) in held:
                    self._uses[leaf] += 1
                    self._note(eqn, position, leaf, transposed, here, moved)
        for variable in jaxpr.outvars:
            if _in(variable, leaves):
                self._uses[leaves[variable][0]] += 2

    def _note(self, eqn: core.JaxprEqn, side: int, leaf: int, transposed: bool, path: Path, moved: set) -> None:
        if eqn.primitive.name != "dot_general":
            return
        (contracted, batch) = eqn.params["dimension_numbers"]
        weights, x = eqn.invars[side].aval, eqn.invars[1 - side].aval
        if batch != ((), ()) or len(weights.shape) != 2 or len(contracted[side]) != 1:  # type: ignore[attr-defined]
            return
        if eqn.params["preferred_element_type"] not in (None, weights.dtype) or x.dtype != weights.dtype:  # type: ignore[attr-defined]
            return
        inputs = weights.shape[contracted[side][0]]  # type: ignore[attr-defined]
        outputs = weights.shape[1 - contracted[side][0]]  # type: ignore[attr-defined]
        rows = math.prod(x.shape) // inputs  # type: ignore[attr-defined]
        # As a matrix the weights are (inputs, outputs): transposed if the second axis is contracted, or before.
        flipped = transposed != (contracted[side][0] == 1)
        self._found.append(Site(leaf, path, side, flipped, rows, inputs, outputs, not _in(eqn.invars[1 - side], moved)))


def _in(atom: Any, group: Any) -> bool:
    return not isinstance(atom, core.Literal) and atom in group
