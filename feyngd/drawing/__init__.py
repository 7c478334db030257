"""Drawing: diagrams and spacetimes as SVG, diagrams inside matplotlib figures, and figures of results."""

from ._advice_plot import plot_advice as plot_advice
from ._axes import PALETTE as PALETTE
from ._axes import drawn as drawn
from ._axes import new_axes as new_axes
from ._axes import new_figure as new_figure
from ._diagram_box import diagram_box as diagram_box
from ._diagram_svg import diagram_svg as diagram_svg
from ._diagram_svg import diagrams_svg as diagrams_svg
from ._matplotlib import require_matplotlib as require_matplotlib
from ._plots import plot_comparison as plot_comparison
from ._plots import plot_contributions as plot_contributions
from ._plots import plot_curve as plot_curve
from ._plots import plot_prediction as plot_prediction
from ._plots import plot_resummed as plot_resummed
from ._plots import plot_series_curve as plot_series_curve
from ._plots import plot_simulated_curves as plot_simulated_curves
from ._spacetime_svg import spacetime_svg as spacetime_svg
