"""Data averaging: what SGD's losses are on average over training sets, and how they depend on its temperature λ/B.

After "Studying Generalization Through Data Averaging" (Gomez-Uribe), with its formulas corrected where they need it.
Everything is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._assumptions import Assumption as Assumption
    from .._assumptions import Assumptions as Assumptions
    from .._heavy_ball import HeavyBall as HeavyBall
    from .._heavy_ball import heavy_ball as heavy_ball
    from ._assumptions import assumptions as assumptions
    from ._averages import Density as Density
    from ._averages import Losses as Losses
    from ._averages import Residuals as Residuals
    from ._averages import Stationary as Stationary
    from ._collapse import Collapse as Collapse
    from ._collapse import collapse_test as collapse_test
    from ._decomposition import Decomposition as Decomposition
    from ._ensemble import ensemble as ensemble
    from ._forms import convert_gap as convert_gap
    from ._forms import epochs as epochs
    from ._forms import local_losses as local_losses
    from ._forms import records_before_spike as records_before_spike
    from ._forms import sampling_shift as sampling_shift
    from ._gap_law import GapLaw as GapLaw
    from ._gap_law import fit_gap_law as fit_gap_law
    from ._log_normal import LogNormal as LogNormal
    from ._log_normal_forms import delta_covariance as delta_covariance
    from ._log_normal_forms import potential_variance as potential_variance
    from ._log_normal_forms import small_spread_factor as small_spread_factor
    from ._loss_spread import LossSpread as LossSpread
    from ._loss_spread import loss_spread as loss_spread
    from ._one_parameter import steady_state as steady_state
    from ._optimum import Optimum as Optimum
    from ._optimum import optimal_temperature as optimal_temperature
    from ._run_moments import Rates as Rates
    from ._run_moments import Stationarity as Stationarity
    from ._settled import Ensemble as Ensemble
    from ._steady_state import SteadyState as SteadyState
    from ._sweep import SweepCell as SweepCell
    from ._sweep import TemperatureSweep as TemperatureSweep
    from ._sweep import temperature_sweep as temperature_sweep
    from ._sweep_analysis import SweepGroup as SweepGroup
    from ._sweep_analysis import SweepPoint as SweepPoint
    from ._sweep_analysis import SweepVerdict as SweepVerdict

_HOMES = {
    ".._assumptions": ("Assumption", "Assumptions"),
    ".._heavy_ball": ("HeavyBall", "heavy_ball"),
    "._assumptions": ("assumptions",),
    "._averages": ("Density", "Losses", "Residuals", "Stationary"),
    "._collapse": ("Collapse", "collapse_test"),
    "._decomposition": ("Decomposition",),
    "._ensemble": ("ensemble",),
    "._forms": ("convert_gap", "epochs", "local_losses", "records_before_spike", "sampling_shift"),
    "._gap_law": ("GapLaw", "fit_gap_law"),
    "._log_normal": ("LogNormal",),
    "._log_normal_forms": ("delta_covariance", "potential_variance", "small_spread_factor"),
    "._loss_spread": ("LossSpread", "loss_spread"),
    "._one_parameter": ("steady_state",),
    "._optimum": ("Optimum", "optimal_temperature"),
    "._run_moments": ("Rates", "Stationarity"),
    "._steady_state": ("SteadyState",),
    "._settled": ("Ensemble",),
    "._sweep": ("SweepCell", "TemperatureSweep", "temperature_sweep"),
    "._sweep_analysis": ("SweepGroup", "SweepPoint", "SweepVerdict"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
