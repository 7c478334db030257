"""Diagrams as tensor expressions: the same contraction in the letters of the field.

A node that is alone in its part is a derivative of the mean loss: l, G = ∇l, H, J, K for 0 to 4 edges. Tied nodes are a
joint cumulant (C = Cov(∇l_n), S the third cumulant of ∇l_n, κ[…] otherwise) or, in the moment basis, a joint moment
E[…] of one datapoint's derivatives, in small letters. Repeated indices are summed. A contraction of vectors and
matrices only is written without indices: `GHG`, `tr(HC)`.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from .._arguments import check_basis
from ..errors import ArgumentError
from ._cell_diagram import CellDiagram
from ._diagram import Diagram
from ._forest import Forest

_RANKS = "lGHJK"
_FEW_EDGES = 30  # up to this order every node is tried as the root
_INDICES = "ijkmnpqrstuvwxyzabcdefgh"


def reroot(diagram: Diagram, node: int) -> Diagram:
    """Return the diagram on the same unrooted tree and partition with another node as the root.

    The value of a diagram is the same for every choice of the root.
    """
    path = [node]
    while diagram.parents[path[-1]] >= 0:
        path.append(diagram.parents[path[-1]])
    flipped = {parent: child for child, parent in pairwise(path)}
    above = [flipped.get(v, diagram.parents[v]) for v in range(diagram.order + 1)]
    order = [node] + [v for v in range(diagram.order + 1) if v != node]
    index = {v: i for i, v in enumerate(order)}
    parents = [-1] + [index[above[v]] for v in order[1:]]
    labels = [diagram.labels[v] for v in order]
    if isinstance(diagram, CellDiagram):
        return CellDiagram.unrooted(parents, labels, [diagram.cells[v] for v in order])
    return Diagram.from_labels(parents, labels)


def value_representative(diagram: Diagram) -> Diagram:
    """Return a diagram that is the same for all with this unrooted tree and partition, and so with this value."""
    return min(reroot(diagram, node) for node in _possible_roots(diagram))


def _possible_roots(diagram: Diagram) -> Iterable[int]:
    """Return the nodes that may become the root of the representative: in large trees the middle node, or the two."""
    if diagram.order <= _FEW_EDGES:
        return range(diagram.order + 1)
    degrees = [len(children) + (node > 0) for node, children in enumerate(diagram.children)]
    outer, left = [node for node, degree in enumerate(degrees) if degree == 1], diagram.order + 1
    while left > 2:  # remove the leaves, layer by layer
        left -= len(outer)
        inner = []
        for node in outer:
            degrees[node] = 0
            for other in (diagram.parents[node], *diagram.children[node]):
                if other >= 0 and degrees[other]:
                    degrees[other] -= 1
                    if degrees[other] == 1:
                        inner.append(other)
        outer = inner
    return outer


def tensor_expression(
    diagram: Diagram,
    *,
    basis: str = "cumulant",
    latex: bool = False,
    indexed: bool = False,
    open_root: bool = False,
    root: str | None = None,
) -> str:
    """Write the value of a diagram as a tensor expression.

    Args:
        diagram: the diagram; diagrams that differ only in the choice of the root give the same text.
        basis: "cumulant" or "moment": what tied nodes are.
        latex: whether to write LaTeX, without dollar signs, in place of plain text.
        indexed: whether to keep the root and all indices: the edge above node v has the v-th of the letters ijkmn….
        open_root: whether the root is the first index, left free, instead of a derivative of a loss, as for the
            displacement.
        root: the letter of another function in the place of the loss at the root, which is alone: its derivatives are
            written with an index each, and the root stays where it is.

    Raises:
        ArgumentError: the basis is unknown, or `diagram` is not a `Diagram`.

    Examples:
        >>> from feyngd import Diagram, tensor_expression
        >>> tensor_expression(Diagram.parse("[a a]"))
        'tr(HC)'
        >>> tensor_expression(Diagram.parse("[a b b]"))
        'C_jk G_i J_ijk'
        >>> tensor_expression(Diagram.parse("[a a]"), basis="moment")
        'E[g_i g_j] H_ij'
    """
    check_basis(basis)
    if not isinstance(diagram, Diagram):
        raise ArgumentError(f"The value of a Diagram is written, such as Diagram.parse('[a a]'); got {diagram!r}.")
    if isinstance(diagram, Forest):
        return _of_forest(diagram, basis, latex, open_root=open_root, root=root)
    if isinstance(diagram, CellDiagram) and basis == "cumulant":
        raise ArgumentError(f"{diagram} has cells, which have moments and no cumulants: give basis='moment'.")
    shape = diagram if indexed or open_root or root else value_representative(diagram)
    slots: list[list[str]] = [[] for _ in range(shape.order + 1)]
    for node in range(1, shape.order + 1):
        for end in (shape.parents[node], node):
            slots[end].append(edge_index(node))
    tensors = [
        ([slots[node] for node in sorted(part)], _letter([len(slots[node]) for node in part], basis))
        for part in shape.parts
    ]
    split = {number: cells for number, cells in enumerate(_cells_of(shape)) if len(cells) > 1}
    if split:
        return _with_cells(shape, slots, tensors, split, latex=latex, open_root=open_root, root=root)
    if open_root:
        tensors = tensors[1:]
    elif root:
        tensors[0] = tensors[0][0], root
    elif not indexed and all(letter for _, letter in tensors) and (short := _without_indices(tensors)):
        return short.replace("tr", r"\operatorname{tr}") if latex else short
    return " ".join(_factor(nodes, letter, basis, latex) for nodes, letter in sorted(tensors, key=_sort_key))


def _of_forest(forest: Forest, basis: str, latex: bool, *, open_root: bool, root: str | None) -> str:
    """Write the value of two trees: factors that share no index one after the other, as `GCG` or `l GG`.

    Loose ends are the first two indices, i and j.
    """
    slots: list[list[str]] = [[] for _ in forest.parents]
    inner = [node for node in range(1, len(forest.parents)) if node not in forest.roots]
    ends = [node for node in inner if forest.parents[node] in forest.roots] if open_root else []
    for number, node in enumerate([*ends, *(node for node in inner if node not in ends)], start=1):
        for end in (forest.parents[node], node):
            slots[end].append(edge_index(number))
    tensors = [
        ([slots[node] for node in sorted(part)], _letter([len(slots[node]) for node in part], basis))
        for part in forest.parts[1:]
    ]
    alone = [forest.labels[node] - 1 for node in forest.roots if forest.labels.count(forest.labels[node]) == 1]
    if open_root:
        tensors = [tensor for number, tensor in enumerate(tensors) if number not in alone]
    elif root:
        tensors = [(nodes, root if number in alone else letter) for number, (nodes, letter) in enumerate(tensors)]
    pieces = [tensors] if open_root or root else _connected(tensors)
    written = []
    for piece in pieces:
        short = "" if open_root or root or not all(letter for _, letter in piece) else _without_indices(piece)
        found = short.replace("tr", r"\operatorname{tr}") if latex else short
        written.append(found or " ".join(_factor(*tensor, basis, latex) for tensor in sorted(piece, key=_sort_key)))
    return " ".join(sorted(written))


def _connected(tensors: list[tuple[list[list[str]], str]]) -> list[list[tuple[list[list[str]], str]]]:
    """Return tensors in groups that share no index."""
    groups: list[tuple[set[str], list[tuple[list[list[str]], str]]]] = []
    for tensor in tensors:
        indices, members = {index for node in tensor[0] for index in node}, [tensor]
        apart = []
        for other, theirs in groups:
            if other & indices:
                indices, members = indices | other, theirs + members
            else:
                apart.append((other, theirs))
        groups = [*apart, (indices, members)]
    return [members for _, members in groups]


def _cells_of(diagram: Diagram) -> list[list[list[int]]]:
    """Return the cells of every part, each as its nodes."""
    if not isinstance(diagram, CellDiagram):
        return [[sorted(part)] for part in diagram.parts]
    numbers = [sorted({diagram.cells[node] for node in part}) for part in diagram.parts]
    return [
        [[node for node in sorted(part) if diagram.cells[node] == cell] for cell in own]
        for part, own in zip(diagram.parts, numbers, strict=True)
    ]


def _with_cells(
    diagram: Diagram,
    slots: list[list[str]],
    tensors: list[tuple[list[list[str]], str]],
    split: dict[int, list[list[int]]],
    *,
    latex: bool,
    open_root: bool,
    root: str | None,
) -> str:
    """Write every part that has several cells as a mean over datapoints of means ⟨…⟩ over their noise."""
    means: list[str] = []
    others: list[str] = []
    left, right = (r"\langle ", r" \rangle") if latex else ("⟨", "⟩")
    for number, (nodes, letter) in enumerate(tensors):
        if number == 0 and open_root:
            continue
        if number in split:
            cells = [[slots[node] for node in cell] for cell in split[number]]
            inner = sorted(left + " ".join(_small(node, latex) for node in cell) + right for cell in cells)
            means.append((r"\mathbb{E}" if latex else "E") + f"[{' '.join(inner)}]")
        else:
            others.append(_factor(nodes, root if number == 0 and root else letter, "moment", latex))
    return " ".join(sorted(means) + sorted(others))


def edge_index(node: int) -> str:
    """Return the letter of the index that is summed over along the edge above a node."""
    return _INDICES[node - 1] if node <= len(_INDICES) else f"i{node}"


def _letter(ranks: Sequence[int], basis: str) -> str:
    """Return the one-letter name of a part's tensor, or nothing if it has none."""
    if len(ranks) == 1:
        return _RANKS[ranks[0]] if ranks[0] < len(_RANKS) else ""
    if basis == "cumulant" and set(ranks) == {1}:
        return {2: "C", 3: "S"}.get(len(ranks), "")
    return ""


def _sort_key(tensor: tuple[list[list[str]], str]) -> tuple:
    nodes, letter = tensor
    return (len(nodes) == 1, letter, nodes) if letter else (False, "", nodes)


def _factor(nodes: list[list[str]], letter: str, basis: str, latex: bool) -> str:
    if letter:
        return _indexed(letter, sorted(index for node in nodes for index in node), latex)
    if len(nodes) == 1:
        return _indexed(rf"\nabla^{{{len(nodes[0])}}} l" if latex else f"D{len(nodes[0])}", nodes[0], latex)
    small = [_small(node, latex) for node in nodes]
    if basis == "moment":
        return (r"\mathbb{E}" if latex else "E") + f"[{' '.join(small)}]"
    return (r"\kappa" if latex else "κ") + f"[{', '.join(small)}]"


def _small(node: list[str], latex: bool) -> str:
    """Write a derivative of one datapoint's loss."""
    rank = len(node)
    name = _RANKS[rank].lower() if rank < len(_RANKS) else (rf"d^{{{rank}}}" if latex else f"d{rank}")
    return _indexed(name, node, latex)


def _indexed(name: str, indices: list[str], latex: bool) -> str:
    if not indices:
        return name
    return f"{name}_{{{' '.join(indices)}}}" if latex else f"{name}_{''.join(indices)}"


def _without_indices(tensors: list[tuple[list[list[str]], str]]) -> str:
    """Write a path or a cycle of vectors and symmetric matrices as a product or a trace."""
    slots = [[index for node in nodes for index in node] for nodes, _ in tensors]
    letters = [letter for _, letter in tensors]
    if any(len(indices) > 2 for indices in slots):
        return ""
    if len(tensors) == 1:
        return f"tr({letters[0]})" if slots[0] else letters[0]
    at: dict[str, list[int]] = {}
    for i, indices in enumerate(slots):
        for index in indices:
            at.setdefault(index, []).append(i)

    def walk(start: int, index: str) -> str:
        word, here = [letters[start]], start
        while True:
            here = sum(at[index]) - here
            if here == start:
                return "".join(word)
            word.append(letters[here])
            if len(slots[here]) == 1:
                return "".join(word)
            index = next(other for other in slots[here] if other != index)

    if ends := [i for i, indices in enumerate(slots) if len(indices) == 1]:
        return min(walk(end, slots[end][0]) for end in ends)
    # Without ends the tree is a path whose two leaves are tied: a cycle through one C.
    start = letters.index("C")
    return f"tr({walk(start, slots[start][0])[1:]}C)"
