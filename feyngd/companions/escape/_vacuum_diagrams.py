"""The vacuum diagrams of one end of an escape: three at a minimum, and two more at a saddle, with their pictures."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ...svg import Edge, Picture, aside, document, element, elements, graph_picture, line, loop

_LENGTH, _LOOP, _BULGE = 44.0, 30.0, 24.0  # of edges between two nodes and loops; how far edges stand aside
_WIDTH, _HEIGHT, _LINE, _FONT, _SMALL = 168.0, 56.0, 15.0, 11.0, 9.5


@dataclass(frozen=True)
class _Term:
    """One diagram: what it multiplies, how it is written in text and in LaTeX, and how it is drawn."""

    weight: Fraction
    text: str
    latex: str
    picture: Picture


def _joined(unstable_edge: bool, edges: int) -> Picture:
    """Draw two nodes joined by one edge, with a loop at each, or by three."""
    left, right = (0.0, 0.0), (_LENGTH, 0.0)
    if edges == 1:
        ends = [Edge(loop(left, _LOOP, math.pi)), Edge(loop(right, _LOOP, 0.0))]
        return graph_picture([left, right], [*ends, Edge(line(left, right), unstable_edge)])
    outer = [Edge(aside(left, right, side, side)) for side in (-_BULGE, _BULGE)]
    return graph_picture([left, right], [*outer, Edge(line(left, right), unstable_edge)])


_TERMS = {
    "figure_eight": _Term(
        Fraction(-1, 8),
        "K_iijj/(h_i h_j)",
        r"\frac{K_{iijj}}{h_i h_j}",
        graph_picture([(0.0, 0.0)], [Edge(loop((0.0, 0.0), _LOOP, angle)) for angle in (0.0, math.pi)]),
    ),
    "dumbbell": _Term(
        Fraction(1, 8), "J_iij J_jkk/(h_i h_j h_k)", r"\frac{J_{iij} J_{jkk}}{h_i h_j h_k}", _joined(False, 1)
    ),
    "sunset": _Term(Fraction(1, 12), "J_ijk²/(h_i h_j h_k)", r"\frac{J_{ijk}^2}{h_i h_j h_k}", _joined(False, 3)),
    "unstable_dumbbell": _Term(
        Fraction(-1, 4), "J_iie J_ekk/(h_i λ h_k)", r"\frac{J_{iie} J_{ekk}}{h_i \lambda h_k}", _joined(True, 1)
    ),
    "unstable_sunset": _Term(
        Fraction(-1, 2),
        "J_ije²/(h_i h_j (h_i+h_j+λ))",
        r"\frac{J_{ije}^2}{h_i h_j (h_i + h_j + \lambda)}",
        _joined(True, 3),
    ),
}


@dataclass(frozen=True)
class Diagrams:
    """The vacuum diagrams at a minimum or at a saddle of index 1, exact; a notebook draws them.

    J and K are the third and fourth derivatives of the loss in the eigenvectors of H, h_i = |H_ii| there, and repeated
    indices are summed. In the pictures a node is a derivative and an edge the propagator |H|⁻¹. At a saddle two more
    diagrams have a dashed edge: it stands for the unstable direction e alone, of curvature −λ.

    Attributes:
        figure_eight: K_iijj/(h_i h_j).
        dumbbell: J_iij J_jkk/(h_i h_j h_k).
        sunset: J_ijk²/(h_i h_j h_k).
        unstable_dumbbell: (J_iie/h_i)²/λ; 0 at a minimum.
        unstable_sunset: J_ije²/(h_i h_j (h_i + h_j + λ)); 0 at a minimum.
        index: the number of negative curvatures, 0 or 1.
    """

    figure_eight: float
    dumbbell: float
    sunset: float
    unstable_dumbbell: float = 0.0
    unstable_sunset: float = 0.0
    index: int = 0

    @property
    def terms(self) -> dict[str, float]:
        """What each diagram adds to `total`, in units of 1/loss, with its weight: −1/8, 1/8, 1/12, −1/4 and −1/2."""
        return {name: float(_TERMS[name].weight) * getattr(self, name) for name in self._names}

    @property
    def total(self) -> float:
        """c_a at a minimum, c_b at a saddle, in units of 1/loss: the next order of an escape is 1 + D(c_a − c_b)."""
        return sum(self.terms.values())

    @property
    def _names(self) -> list[str]:
        return list(_TERMS)[: 5 if self.index else 3]

    def __str__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name):.6f}" for name in self._names)
        return f"Diagrams({values})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "total": self.total}

    def latex(self) -> str:
        """Return the sum as LaTeX, without dollar signs: its terms, and their values.

        Examples:
            >>> from feyngd.companions import escape as esc
            >>> print(esc.Diagrams(8.0, 0.0, 12.0).latex().rpartition(" = ")[0].rpartition(" = ")[2])
            -1 + 0 + 1
        """
        weighted = _sum(
            (_TERMS[name].weight, f"{_fraction(_TERMS[name])} {_TERMS[name].latex}") for name in self._names
        )
        values = _sum((value, f"{abs(value):.4g}") for value in self.terms.values())
        return f"c_{'b' if self.index else 'a'} = {weighted} = {values} = {self.total:.4g}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def svg(self) -> str:
        """Return a picture of the diagrams with their weights and values, an SVG document."""
        body = []
        for column, name in enumerate(self._names):
            term, middle = _TERMS[name], (column + 0.5) * _WIDTH
            x = middle - term.picture.left - term.picture.width / 2
            y = _HEIGHT / 2 - term.picture.top - term.picture.height / 2
            moved = f"translate({elements.number(x)} {elements.number(y)})"
            body.append(element("g", term.picture.body, class_="diagram", transform=moved))
            plain = f"{term.weight} × {getattr(self, name):.4g} = {self.terms[name]:.4g}".replace("-", "−")
            for row, words in enumerate([_in_words(name), term.text, plain]):
                style = {"font_weight": "bold"} if row == 0 else {"font_family": "monospace"}
                size = _FONT if row == 0 else _SMALL
                body.append(elements.text(words, middle, _HEIGHT + _LINE * (row + 1), size, **style))
        name = f"c_{'b' if self.index else 'a'} = {self.total:.4g}".replace("-", "−")
        width, below = _WIDTH * len(self._names), _HEIGHT + 4 * _LINE
        body.append(elements.text(f"sum {name}", width / 2, below + _LINE / 2, _FONT, font_weight="bold"))
        return document(Picture("".join(body), 0.0, 0.0, width, below + _LINE), f"Vacuum diagrams, {name}")

    def _repr_svg_(self) -> str:
        return self.svg()


def _in_words(name: str) -> str:
    return name.replace("unstable_", "unstable ").replace("_", "-")


def _fraction(term: _Term) -> str:
    return rf"\tfrac{{{abs(term.weight.numerator)}}}{{{term.weight.denominator}}}"


def _sum(terms: Iterable[tuple[Fraction | float, str]]) -> str:
    """Write a sum from the values of its terms, whose signs count, and their sizes as text."""
    signed = " ".join(f"{'-' if value < 0 else '+'} {size}" for value, size in terms)
    return signed.removeprefix("+ ") if signed.startswith("+") else signed.replace("- ", "-", 1)
