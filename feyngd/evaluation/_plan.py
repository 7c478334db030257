"""How to evaluate a diagram: what is averaged exactly first, and what is left to pair.

A subtree is *closed* if no part has nodes both in it and outside. A closed subtree whose own nodes, once its closed
subtrees are taken out, lie in one part is a single average over the population: a vector, computed exactly and once.
Taking out all of these leaves a core around the root. If the core lies in one part, the value is exact too. If not,
its parts are interleaved, and the examples of different parts have to be paired.

A value does not depend on which node is the root, so the root is chosen to make the core small.
"""

from dataclasses import dataclass

from ..diagrams import Diagram, reroot, value_representative


@dataclass(frozen=True)
class Plan:
    """A tree of derivatives at examples, with vectors that are averaged beforehand.

    Attributes:
        core: the nodes to contract for every row of examples, parents first; the first is the root.
        part_of: for every core node the position of its example in a row.
        children: for every core node the core nodes below it.
        vectors: for every core node the plans of the vectors that are contracted with it.
        num_parts: the number of examples in a row.
    """

    core: tuple[int, ...]
    part_of: dict[int, int]
    children: dict[int, tuple[int, ...]]
    vectors: dict[int, tuple[Diagram, ...]]
    num_parts: int


def plan_value(diagram: Diagram) -> tuple[Diagram, Plan]:
    """Return the diagram rerooted for evaluation and its plan; diagrams of equal value give the same."""
    shape = value_representative(diagram)
    choices = {reroot(shape, node) for node in range(shape.order + 1)}
    plans = [(choice, plan_rooted(choice)) for choice in sorted(choices)]
    return min(plans, key=lambda pair: (pair[1].num_parts, len(pair[1].core)))


def plan_rooted(diagram: Diagram) -> Plan:
    """Return the plan with the root where it is; used for vectors, which are open at their root."""
    below = _subtrees(diagram)
    averaged: set[int] = set()
    for node in range(diagram.order, 0, -1):  # children before parents
        if _is_closed(diagram, below[node]):
            core = _core(diagram, node, averaged)
            if len({diagram.labels[member] for member in core}) == 1:
                averaged.add(node)
    core = _core(diagram, 0, averaged)
    positions: dict[int, int] = {}
    for member in core:
        positions.setdefault(diagram.labels[member], len(positions))
    return Plan(
        core=tuple(core),
        part_of={member: positions[diagram.labels[member]] for member in core},
        children={m: tuple(c for c in diagram.children[m] if c not in averaged) for m in core},
        vectors={
            m: tuple(_subdiagram(diagram, c, below[c]) for c in diagram.children[m] if c in averaged) for m in core
        },
        num_parts=len(positions),
    )


def _subtrees(diagram: Diagram) -> list[list[int]]:
    below: list[list[int]] = [[node] for node in range(diagram.order + 1)]
    for node in range(diagram.order, 0, -1):
        below[diagram.parents[node]] += below[node]
    return below


def _is_closed(diagram: Diagram, nodes: list[int]) -> bool:
    inside = set(nodes)
    return all(diagram.parts[diagram.labels[node]] <= inside for node in nodes)


def _core(diagram: Diagram, top: int, averaged: set[int]) -> list[int]:
    core, frontier = [], [top]
    while frontier:
        node = frontier.pop(0)
        core.append(node)
        frontier += [child for child in diagram.children[node] if child not in averaged]
    return core


def _subdiagram(diagram: Diagram, top: int, nodes: list[int]) -> Diagram:
    order = [top, *(node for node in nodes if node != top)]
    index = {node: i for i, node in enumerate(order)}
    parents = [-1] + [index[diagram.parents[node]] for node in order[1:]]
    return Diagram.from_labels(parents, [diagram.labels[node] for node in order])
