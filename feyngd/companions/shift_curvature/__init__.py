"""Steady state and shift-curvature: what SGD's noise costs where train and test loss have minima apart.

After Bradley et al., "Shift-Curvature, SGD, and Generalization", with the corrections that docs/shift-curvature.md
lists. Conventions: T = η/B is the temperature; U and V are train and test loss; D is the covariance of the examples'
gradients, divided by M; C is the Hessian of U and J its third derivative; s = θte − θtr is the shift of the minima.

Names are imported on first use: this module itself needs neither JAX nor SciPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...minima import Minimum as Minimum
    from ...minima import minimum as minimum
    from .._assumptions import Assumption as Assumption
    from .._assumptions import Assumptions as Assumptions
    from ._assumptions import assumptions as assumptions
    from ._basins import FIGURES as FIGURES
    from ._basins import basins as basins
    from ._compare_minima import ComparedMinima as ComparedMinima
    from ._compare_minima import ComparedMinimum as ComparedMinimum
    from ._compare_minima import compare_minima as compare_minima
    from ._diffusion import Diffusion as Diffusion
    from ._expected_shift import expected_shift as expected_shift
    from ._flat_minima import flat_excess as flat_excess
    from ._flat_minima import flat_weight as flat_weight
    from ._flat_minima import leading_order as leading_order
    from ._kramers_moyal import kramers_moyal as kramers_moyal
    from ._line import Fit as Fit
    from ._line import Line as Line
    from ._local_steady_state import LocalSteadyState as LocalSteadyState
    from ._local_steady_state import local_steady_state as local_steady_state
    from ._modified_runs import ModifiedRuns as ModifiedRuns
    from ._modified_runs import simulate_modified as simulate_modified
    from ._modified_runs import stationarity as stationarity
    from ._shift import Shift as Shift
    from ._shift import shift as shift
    from ._shift_report import ShiftReport as ShiftReport
    from ._shift_report import shift_report as shift_report
    from ._shift_test import ShiftTest as ShiftTest
    from ._shift_test import shift_test as shift_test
    from ._steady_state import Basin as Basin
    from ._steady_state import BasinWarning as BasinWarning
    from ._steady_state import Parts as Parts
    from ._steady_state import SteadyState as SteadyState
    from ._steady_state import steady_state as steady_state
    from ._step_cumulants import step_cumulants as step_cumulants
    from ._sweep import Sweep as Sweep
    from ._sweep import temperature_sweep as temperature_sweep

_HOMES = {
    "..minima": ("Minimum", "minimum"),
    "._assumptions": ("Assumption", "Assumptions"),
    "_assumptions": ("assumptions",),
    "_basins": ("FIGURES", "basins"),
    "_compare_minima": ("ComparedMinima", "ComparedMinimum", "compare_minima"),
    "_diffusion": ("Diffusion",),
    "_expected_shift": ("expected_shift",),
    "_flat_minima": ("flat_excess", "flat_weight", "leading_order"),
    "_kramers_moyal": ("kramers_moyal",),
    "_line": ("Fit", "Line"),
    "_local_steady_state": ("LocalSteadyState", "local_steady_state"),
    "_modified_runs": ("ModifiedRuns", "simulate_modified", "stationarity"),
    "_shift": ("Shift", "shift"),
    "_shift_report": ("ShiftReport", "shift_report"),
    "_shift_test": ("ShiftTest", "shift_test"),
    "_steady_state": ("Basin", "BasinWarning", "Parts", "SteadyState", "steady_state"),
    "_step_cumulants": ("step_cumulants",),
    "_sweep": ("Sweep", "temperature_sweep"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
