"""Fuzzy outlines: the net effect of noise, as a difference of diagrams with ties."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from ..errors import ArgumentError
from ._cell_diagram import CellDiagram
from ._diagram import Diagram
from ._forest import check_one_root
from ._tensors import tensor_expression

KINDS = ("cumulant", "difference")


class Outline(Mapping[Diagram, int]):
    """A diagram with outlines in the place of ties: `Σ_D outline[D] · D`, with integers, in moments.

    Make one with `feyngd.outline`. Iteration runs over the diagrams with ties that it is made of, the diagram itself
    first. In a notebook it draws itself, with hollow outlines around the nodes that are not simply tied.

    Attributes:
        diagram: the diagram with ties.
        parts: which of its parts are outlined, as indices.
        kind: "cumulant" or "difference".
    """

    def __init__(self, diagram: Diagram, parts: tuple[int, ...], kind: str) -> None:
        self.diagram, self.parts, self.kind = diagram, parts, kind
        found: dict[Diagram, int] = {}
        ways = diagram.refinements(parts) if kind == "cumulant" else _differences(diagram, parts)
        for finer, weight in ways:
            found[finer] = found.get(finer, 0) + weight
        self._terms = {one: found[one] for one in sorted(found, key=lambda one: (len(one.parts), one)) if found[one]}

    def __getitem__(self, diagram: Diagram) -> int:
        if not isinstance(diagram, Diagram):
            raise KeyError(f"An outline is indexed by diagrams, got {diagram!r}; use Diagram.parse.")
        return self._terms.get(diagram, 0)

    def __contains__(self, diagram: object) -> bool:
        return diagram in self._terms

    def __iter__(self) -> Iterator[Diagram]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)

    def value(self, values: Mapping[Diagram, Any]) -> Any:
        """Return the value of the outline from the moment values of the diagrams that it is made of.

        Args:
            values: the moment value of every diagram: numbers, arrays or expressions.

        Raises:
            ArgumentError: a value is missing.
        """
        if missing := [str(diagram) for diagram in self if diagram not in values]:
            raise ArgumentError(f"No value is given for {missing[0]}; give those of {', '.join(map(str, self))}.")
        return sum(weight * values[diagram] for diagram, weight in self.items())

    def __eq__(self, other: object) -> bool:
        return self._terms == other._terms if isinstance(other, Outline) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._terms.items()))

    def __str__(self) -> str:
        return _sum(self, str)

    def latex(self) -> str:
        """Return the difference as LaTeX, without dollar signs, with the moments of every diagram.

        Examples:
            >>> import feyngd as fd
            >>> print(fd.outline(fd.Diagram.parse("[a a]")).latex())
            \\mathbb{E}[g_{i} g_{j}] H_{i j} - GHG
        """
        return _sum(self, lambda one: tensor_expression(one, basis="moment", latex=True), minus="-", times=r"\, ")

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def __repr__(self) -> str:
        outlined = ", ".join(str(sorted(self.diagram.parts[index])) for index in self.parts)
        return f"<Outline of {self.diagram}, nodes {outlined}: {self}>"

    def _repr_svg_(self) -> str:
        from ..svg import document, tree_picture  # here, so that importing feyngd takes no time

        return document(tree_picture(self.diagram.parents, self.diagram.parts, hollow=self.parts), str(self))


def outline(
    diagram: Diagram, parts: Iterable[int | Collection[int]] | None = None, *, kind: str = "cumulant"
) -> Outline:
    """Turn ties into outlines: write the net effect of noise as a difference of diagrams with ties.

    Tied nodes are a joint moment of one datapoint's derivatives. Outlined, they are their joint cumulant, the Möbius
    sum over the ways to split the part: two gradients are then C, their covariance, and three are S, the third
    cumulant. For two nodes that is the tied diagram less the untied one.

    Args:
        diagram: the diagram.
        parts: the parts to outline, as members of `diagram.parts` or indices into it; the others stay tied. By default
            all parts of two or more nodes.
        kind: "cumulant", or "difference": the tied part less the same nodes without any tie. The two differ from three
            nodes on, where the paper's words define the difference, and its letter S the cumulant.

    Returns:
        An `Outline`: the exact integer for each diagram with ties, which multiplies its moment value.

    Raises:
        ArgumentError: `diagram` is not a `Diagram`, the kind is unknown, there is nothing to outline, or a part is
            given twice or has a single node.
        DiagramError: a part is not one of the diagram's.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Definition 4 and Table 1 (corrected: for three nodes and more
        the joint cumulant takes the place of the difference, without which the sum over embeddings is not exact).

    Examples:
        >>> import feyngd as fd
        >>> print(fd.outline(fd.Diagram.parse("[a a]")))
        [a a] − [a b]
        >>> print(fd.outline(fd.Diagram.parse("[a a a]")))
        [a a a] − 3 [a b b] + 2 [a b c]
    """
    if isinstance(diagram, CellDiagram) or not isinstance(diagram, Diagram):
        raise ArgumentError(f"A Diagram without cells is outlined, such as Diagram.parse('[a a]'); got {diagram!r}.")
    check_one_root(diagram, "outlined")
    if kind not in KINDS:
        raise ArgumentError(f"Unknown kind {kind!r}; known are {', '.join(map(repr, KINDS))}.")
    chosen = _chosen(diagram, parts)
    if not chosen:
        raise ArgumentError(f"{diagram} has nothing to outline: no two of its nodes are tied.")
    return Outline(diagram, chosen, kind)


def _chosen(diagram: Diagram, parts: Iterable[int | Collection[int]] | None) -> tuple[int, ...]:
    """Return the indices of the parts to outline."""
    if parts is None:
        return tuple(index for index, part in enumerate(diagram.parts) if len(part) > 1)
    if not isinstance(parts, Iterable):
        raise ArgumentError(f"parts is a list of parts, or of their indices, such as [{parts!r}]; got {parts!r}.")
    indices = [diagram.part_index(part) for part in parts]
    for index in indices:
        if len(diagram.parts[index]) == 1:
            raise ArgumentError(
                f"Node {min(diagram.parts[index])} of {diagram} is alone in its part: outlines are around two nodes "
                "or more. A lone node is a derivative of the mean loss as it is."
            )
        if indices.count(index) > 1:
            raise ArgumentError(f"Part {index} is given {indices.count(index)} times: give every part once.")
    return tuple(sorted(indices))


def _differences(diagram: Diagram, parts: tuple[int, ...]) -> Iterator[tuple[Diagram, int]]:
    """Iterate over the ways to leave each part tied or to untie all of it, with the sign of each."""
    for untied in product((False, True), repeat=len(parts)):
        alone = {part for part, is_untied in zip(parts, untied, strict=True) if is_untied}
        labels = [-1 - node if label in alone else label for node, label in enumerate(diagram.labels)]
        yield diagram.relabel(labels), (-1) ** len(alone)


def _sum(terms: Mapping[Diagram, int], name: Callable[[Diagram], str], *, minus: str = "−", times: str = " ") -> str:
    """Write a sum of diagrams with integers, of which the first is positive."""
    written = ""
    for diagram, weight in terms.items():
        sign = f" {minus if weight < 0 else '+'} " if written else ""
        size = "" if abs(weight) == 1 else f"{abs(weight)}{times}"
        written += f"{sign}{size}{name(diagram)}"
    return written
