"""SVG as text: elements, the colours, the fuzzy outline, and the document around them.

Colours are fixed rather than `currentColor`, because notebooks show an SVG as an image, which inherits nothing: a
middle grey and the saturated colours of the Okabe–Ito palette stand out from a white page and from a black one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from ..errors import ArgumentError
from ._curves import Curve, Point
from ._rims import rims

INK = "#767676"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# The halo, the body and the core of an outline: its share of the full width, and its opacity.
_FUZZ = ((1.0, 0.14), (0.8, 0.18), (0.6, 0.22))
# The width of a hollow outline's rim, a share of the full width, and its layers.
_RIM, _RIM_FUZZ = 0.24, ((1.0, 0.25), (0.5, 0.65))


@dataclass(frozen=True)
class Picture:
    """A drawing before it becomes a document: SVG elements and the box around them."""

    body: str
    left: float
    top: float
    width: float
    height: float


def number(value: float) -> str:
    """Write a coordinate with at most two decimals, so that equal drawings are equal bytes."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def element(tag: str, content: str = "", **attributes: str | float) -> str:
    """Write one SVG element.

    Args:
        tag: its name.
        content: what is inside, already SVG.
        attributes: its attributes; `_` becomes `-`, and an `_` at the end is dropped, as in `class_`.
    """
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}={quoteattr(value if isinstance(value, str) else number(value))}"
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def text(content: str, x: float, y: float, size: float, **attributes: str | float) -> str:
    """Write centred text; `attributes` add to or replace those of the element."""
    style: dict[str, str | float] = {"font_family": "sans-serif", "text_anchor": "middle", "fill": INK}
    return element("text", escape(content), x=x, y=y, font_size=size, **{**style, **attributes})


def title(content: str) -> str:
    """Write the title, which screen readers speak and browsers show as a tooltip."""
    return element("title", escape(content))


def path(curves: Sequence[Curve]) -> str:
    """Write curves as the `d` attribute of one path, so that translucent strokes do not darken where they meet."""
    pieces = []
    for curve in curves:
        (x0, y0), *controls = curve
        rest = " ".join(f"{number(x)} {number(y)}" for x, y in controls)
        pieces.append(f"M{number(x0)} {number(y0)}C{rest}")
    return "".join(pieces)


def outline(curves: Sequence[Curve], colour: str, width: float, part: int, *, hollow: bool = False) -> str:
    """Draw the fuzzy outline of one part along the curves that join its nodes, filled or as a rim alone."""
    shape = _through(rims(curves, (1 - _RIM) / 2 * width)) if hollow else path(curves)
    stroke = _RIM * width if hollow else width
    layers = [
        element("path", d=shape, stroke_width=share * stroke, stroke_opacity=opacity)
        for share, opacity in (_RIM_FUZZ if hollow else _FUZZ)
    ]
    return element(
        "g",
        "".join(layers),
        class_="outline hollow" if hollow else "outline",
        data_part=str(part),
        fill="none",
        stroke=colour,
        stroke_linecap="round",
        stroke_linejoin="round",
    )


def _through(lines: Sequence[Sequence[Point]]) -> str:
    """Write straight lines through points as the `d` attribute of one path."""
    return "".join("M" + "L".join(f"{number(x)} {number(y)}" for x, y in line) for line in lines)


def dot(x: float, y: float, radius: float, colour: str, *, node: int, ring: float, is_root: bool | None = None) -> str:
    """Draw one node; a root, which node 0 is by default, gets a ring around it."""
    is_root = not node if is_root is None else is_root
    kind, size = ("node root", 1.15 * radius) if is_root else ("node", radius)
    drawn = element("circle", class_=kind, cx=x, cy=y, r=size, fill=colour, data_node=str(node))
    if not is_root:
        return drawn
    halo = element("circle", class_="ring", cx=x, cy=y, r=ring, fill="none", stroke=colour, stroke_width=ring / 5)
    return halo + drawn


def document(picture: Picture, name: str, *, scale: float = 1.0) -> str:
    """Return a complete SVG document.

    Args:
        picture: what to show.
        name: the title.
        scale: how many pixels one unit of the drawing is.
    """
    box = " ".join(number(value) for value in (picture.left, picture.top, picture.width, picture.height))
    return element(
        "svg",
        title(name) + picture.body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=box,
        width=picture.width * scale,
        height=picture.height * scale,
        role="img",
    )


def check_size(name: str, value: float, *, whole: bool = False) -> None:
    """Raise `ArgumentError` unless a size is a positive finite number, or a whole one."""
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < float("inf"):
        raise ArgumentError(f"{name}={value!r} is not allowed: {name} is a {'whole ' * whole}number above 0.")
