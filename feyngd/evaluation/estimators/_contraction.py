"""Contraction: the exact average, from whole tensors of derivatives, for few parameters.

A number contracts derivatives of single examples along the edges of a tree. Its examples are independent, so that its
average contracts one *moment* for each position: the average, over that position's examples, of the product of all
derivatives there, such as E_x[∇²l_x ⊗ ∇l_x]. Edges within a position, and those to averaged vectors, are contracted
example by example. So one sweep over the examples gives every number, whatever the number of positions.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, count
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, PyTree

from ...derivatives import derivative_tensors, num_params, num_rows
from ..engine import Engine, NotFiniteError
from ..planning import TEST, Dot, Given, Input, Mean, Number, Product, Vector, vectors_in
from ._estimator import Cost, Estimator, Setting, Split

_MOST_ENTRIES = 2**24  # of a moment, and of the tensors of one order at all examples
_BLOCK = 2**20  # entries of a product over some examples
_OPERATIONS = 1_000  # of contractions, for every example, that take about as long as its part of a pass

Tensor = Float[np.ndarray, "..."]
Piece = tuple[Tensor, tuple[int, ...]]  # a tensor, and the legs of its axes


class Contraction(Estimator):
    """Takes every number of few parameters, whose tensors of derivatives fit in memory."""

    name = "contraction"

    def takes(self, number: Number, setting: Setting) -> bool:
        """Whether it can average a number."""
        if setting.directed or not all(_is_contractible(vector) for vector in vectors_in(number)):
            return False
        if isinstance(number, Product) and not all(factor.inputs for factor in number.inputs):
            return False  # losses themselves
        net, size = network(number), setting.num_params
        examples = max(setting.num_examples, setting.num_test_examples)
        return size ** len(net.crossing) <= _MOST_ENTRIES and examples * size**net.highest <= _MOST_ENTRIES

    def cost(self, numbers: Sequence[Number], setting: Setting) -> Cost:
        """Return what it takes to average numbers together: the sweep, and the contractions."""
        nets, size = [network(number) for number in numbers], setting.num_params
        sweep = num_rows(max((net.highest for net in nets), default=1), size)
        operations = sum(net.operations(size) for net in nets)
        return Cost(once=sweep + operations // _OPERATIONS, each=0)

    def split(
        self,
        numbers: Sequence[Number],
        setting: Setting,
        engine: Engine,
        key: jax.Array | None,
        advance: Callable[[], None],
    ) -> dict[Number, Split]:
        """Compute the averages; nothing is left to sample."""
        tensors = Tensors(engine, numbers)
        moments = _Moments(tensors)
        splits = {number: Split(fixed=_value(number, moments)) for number in numbers}
        for _ in range(int(self.cost(numbers, setting).once)):
            advance()
        return splits


@dataclass(frozen=True)
class Node:
    """A derivative at one example, with a leg for every slot.

    Attributes:
        position: the position of the example.
        legs: the edges at its slots.
        centred: whether its mean is subtracted.
    """

    position: int
    legs: tuple[int, ...]
    centred: bool


@dataclass(frozen=True)
class Network:
    """A number or vector as nodes joined by legs.

    Attributes:
        nodes: the derivatives.
        constants: the averaged vectors, each with the leg it stands at.
        out: the leg of a vector that is free; `None` for a number.
    """

    nodes: tuple[Node, ...]
    constants: tuple[tuple[int, Mean], ...]
    out: int | None

    @cached_property
    def crossing(self) -> list[int]:
        """The legs between different positions, and the free one."""
        positions: dict[int, set[int]] = {}
        for node in self.nodes:
            for leg in node.legs:
                positions.setdefault(leg, set()).add(node.position)
        return sorted(leg for leg, found in positions.items() if len(found) > 1 or leg == self.out)

    @cached_property
    def parts(self) -> dict[int, list[Node]]:
        """The nodes of every position."""
        found: dict[int, list[Node]] = {}
        for node in self.nodes:
            found.setdefault(node.position, []).append(node)
        return found

    @property
    def highest(self) -> int:
        """The highest order of a derivative, also in the averaged vectors."""
        inside = (network(mean.of).highest for _, mean in self.constants)
        return max((*(len(node.legs) for node in self.nodes), *inside))

    def operations(self, size: int) -> int:
        """Return about how many multiplications the moments take for every example."""
        own = sum(size ** len(node.legs) for node in self.nodes)
        crossing = set(self.crossing)
        outer = sum(size ** sum(leg in crossing for n in part for leg in n.legs) for part in self.parts.values())
        return own + outer + sum(network(mean.of).operations(size) for _, mean in self.constants)


@lru_cache(maxsize=10_000)
def network(item: Number | Vector) -> Network:
    """Return a number, or a vector with a free leg, as a network."""
    nodes: list[Node] = []
    constants: list[tuple[int, Mean]] = []
    names = count()

    def add(item: Input | Number, up: int | None) -> None:
        assert not isinstance(item, (Given, Dot, Product))
        if isinstance(item, Mean):
            assert up is not None
            constants.append((up, item))
            return
        legs = [next(names) for _ in item.inputs]
        own = legs if up is None else [up, *legs]
        nodes.append(Node(item.position, tuple(own), isinstance(item, Vector) and item.centred))
        for inner, leg in zip(item.inputs, legs, strict=True):
            add(inner, leg)

    out = None
    factors = item.inputs if isinstance(item, Product) else (item,)
    for factor in factors if isinstance(item, (Dot, Product)) else ():
        if isinstance(factor, Dot):
            edge = next(names)
            for side in factor.inputs:
                add(side, edge)
        else:
            add(factor, None)
    if not isinstance(item, (Dot, Product)):
        out = next(names) if isinstance(item, Vector) else None
        add(item, out)
    return Network(tuple(nodes), tuple(constants), out)


class Tensors:
    """The derivatives of the loss at all examples, as whole tensors.

    Args:
        engine: the engine, which knows the loss, the point and the examples.
        numbers: what is to be contracted.

    Raises:
        NotFiniteError: a derivative that is needed is not finite.
    """

    def __init__(self, engine: Engine, numbers: Sequence[Number]) -> None:
        landscape = engine.landscape
        orders: dict[bool, dict[int, Number]] = {}
        for number in numbers:
            for is_test, order in sorted(set(_needed(network(number)))):
                orders.setdefault(is_test, {}).setdefault(order, number)
        self.size = num_params(engine.params)
        self._found: dict[bool, dict[int, Tensor]] = {}
        self._means: dict[tuple[bool, int], Tensor] = {}
        for is_test, wanted in orders.items():
            examples = engine.sample[TEST if is_test else 0]
            data: PyTree = landscape.test_data if is_test else landscape.data
            if len(examples) < (landscape.num_test_examples if is_test else landscape.num_examples):
                data = jax.tree.map(lambda leaf, at=examples: leaf[at], data)
            loss = landscape.test_function if is_test else landscape.loss
            found = derivative_tensors(loss, engine.params, data, sorted(wanted), engine.chosen_chunk_size)
            for order, tensor in found.items():
                bad = np.flatnonzero(~_are_finite(tensor))
                if bad.size:
                    raise NotFiniteError(wanted[order], (int(examples[bad[0]]),))
            self._found[is_test] = {order: tensor.astype(np.float64) for order, tensor in found.items()}

    def num_examples(self, *, is_test: bool) -> int:
        """Return the number of examples."""
        return len(next(iter(self._found[is_test].values())))

    def block(self, node: Node, examples: slice) -> Tensor:
        """Return the derivatives of a node at some examples, in double precision."""
        is_test, order = node.position == TEST, len(node.legs)
        tensor = self._found[is_test][order]
        if not node.centred:
            return tensor[examples]
        if (is_test, order) not in self._means:
            self._means[is_test, order] = tensor.mean(axis=0)
        return tensor[examples] - self._means[is_test, order]


class _Moments:
    """Averages over the examples of one position, each computed once."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._known: dict[tuple, Tensor] = {}
        self._vectors: dict[Mean, Tensor] = {}

    def vector(self, mean: Mean) -> Tensor:
        """Return an averaged vector."""
        if mean not in self._vectors:
            net = network(mean.of)
            (part,) = net.parts.values()
            self._vectors[mean] = self.moment(net, part)
        return self._vectors[mean]

    def moment(self, net: Network, part: list[Node]) -> Tensor:
        """Return the moment of one position, with an axis for each of its crossing legs, in their order."""
        # The same moment has other names of legs in another number: they are counted from 0 here.
        order = {leg: at for at, leg in enumerate(dict.fromkeys(leg for node in part for leg in node.legs))}
        crossing = set(net.crossing)
        free = [at for leg, at in order.items() if leg in crossing]
        nodes = [Node(n.position, tuple(order[leg] for leg in n.legs), n.centred) for n in part]
        constants = tuple((order[leg], mean) for leg, mean in net.constants if leg in order)
        is_test = part[0].position == TEST
        key = is_test, tuple((node.legs, node.centred) for node in nodes), constants, tuple(free)
        if key not in self._known:
            self._known[key] = self._average(nodes, constants, free, is_test)
        return self._known[key]

    def _average(
        self, nodes: list[Node], constants: tuple[tuple[int, Mean], ...], free: list[int], is_test: bool
    ) -> Tensor:
        total = self._tensors.num_examples(is_test=is_test)
        size = self._tensors.size ** max(len(free), *(len(node.legs) for node in nodes))
        step = max(1, _BLOCK // size)
        result: Any = 0.0
        for first in range(0, total, step):
            pieces = [(self._tensors.block(node, slice(first, first + step)), node.legs) for node in nodes]
            for leg, mean in constants:
                (at,) = (i for i, (_, legs) in enumerate(pieces) if leg in legs)
                tensor, legs = pieces[at]
                pieces[at] = np.tensordot(tensor, self.vector(mean), (1 + legs.index(leg), 0)), _without(legs, (leg,))
            result = result + _sum_of_products(pieces, free)
        return np.asarray(result / total)


def _value(number: Number, moments: _Moments) -> float:
    """Contract the moments of all positions."""
    net = network(number)
    crossing = set(net.crossing)
    pieces: list[Piece] = []
    for part in net.parts.values():
        legs = dict.fromkeys(leg for node in part for leg in node.legs if leg in crossing)
        pieces.append((moments.moment(net, part), tuple(legs)))
    at_nodes = {leg for node in net.nodes for leg in node.legs}
    for leg, mean in net.constants:
        if leg not in at_nodes:  # two averaged vectors meet
            pieces.append((moments.vector(mean), (leg,)))
    value = math.prod(float(tensor) for tensor, _ in _joined(pieces, _across))
    if not math.isfinite(value):
        raise NotFiniteError(number, None)
    return value


def _sum_of_products(pieces: list[Piece], free: Sequence[int]) -> Tensor:
    """Contract the legs that pieces share, example by example, and sum the products of what is left over examples.

    Args:
        pieces: tensors whose first axis is that of the examples.
        free: the legs of the result, in order.
    """
    pieces = _joined(pieces, _by_example)
    count = len(pieces[0][0])
    # The products of the smallest, and a product of matrices with the largest.
    *others, (last, last_legs) = sorted(pieces, key=lambda piece: len(piece[1]))
    legs: tuple[int, ...] = ()
    rows = np.ones((count, 1))
    for tensor, more in others:
        rows = (rows[:, :, None] * tensor.reshape(count, 1, -1)).reshape(count, -1)
        legs += more
    legs += last_legs
    total = (rows.T @ last.reshape(count, -1)).reshape([last.shape[-1]] * len(legs))
    return total.transpose([legs.index(leg) for leg in free])


def _joined(pieces: list[Piece], product: Callable[[Piece, Piece], Piece]) -> list[Piece]:
    """Contract pieces that share legs, until none do: first those that leave the fewest legs."""
    while pairs := [(a, b) for a, b in combinations(pieces, 2) if set(a[1]) & set(b[1])]:
        a, b = min(pairs, key=lambda pair: len(set(pair[0][1]) ^ set(pair[1][1])))
        pieces = [piece for piece in pieces if piece is not a and piece is not b] + [product(a, b)]
    return pieces


def _across(a: Piece, b: Piece) -> Piece:
    """Contract the legs that two pieces share."""
    shared = [leg for leg in a[1] if leg in b[1]]
    axes = [a[1].index(leg) for leg in shared], [b[1].index(leg) for leg in shared]
    return np.tensordot(a[0], b[0], axes), _without(a[1], shared) + _without(b[1], shared)


def _by_example(a: Piece, b: Piece) -> Piece:
    """Contract the legs that two pieces share, for every example, whose axis is the first."""
    rest = _without(a[1], b[1]) + _without(b[1], a[1])
    first, second, out = ([0, *(1 + leg for leg in legs)] for legs in (a[1], b[1], rest))
    return np.einsum(a[0], first, b[0], second, out), rest


def _without(legs: Sequence[int], gone: Sequence[int]) -> tuple[int, ...]:
    return tuple(leg for leg in legs if leg not in gone)


def _needed(net: Network) -> Iterator[tuple[bool, int]]:
    """Iterate over the derivatives that a network needs: whether on test data, and of which order."""
    for node in net.nodes:
        yield node.position == TEST, len(node.legs)
    for _, mean in net.constants:
        yield from _needed(network(mean.of))


def _is_contractible(vector: Vector) -> bool:
    """Whether a vector is a derivative of single examples, from which at most the mean derivative is subtracted."""
    plain = not vector.basis and not any(isinstance(item, Given) for item in vector.inputs)
    return plain and not (vector.centred and any(item.positions for item in vector.inputs))


def _are_finite(tensor: Tensor) -> Bool[np.ndarray, " examples"]:
    return np.isfinite(tensor).reshape(len(tensor), -1).all(axis=1)
