"""Drawing: diagrams and spacetimes as SVG, and diagrams inside matplotlib figures."""

from ._diagram_box import diagram_box as diagram_box
from ._diagram_svg import diagram_svg as diagram_svg
from ._diagram_svg import diagrams_svg as diagrams_svg
from ._matplotlib import require_matplotlib as require_matplotlib
from ._spacetime_svg import spacetime_svg as spacetime_svg
