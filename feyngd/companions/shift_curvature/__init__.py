"""Steady state and shift-curvature: what SGD's noise costs where train and test loss have minima apart.

After Bradley et al., "Shift-Curvature, SGD, and Generalization", with the corrections that docs/shift-curvature.md
lists. Conventions: T = η/B is the temperature; U and V are train and test loss; D is the covariance of the examples'
gradients, divided by M; C is the Hessian of U and J its third derivative; s = θte − θtr is the shift of the minima.

Names are imported on first use: this module itself needs neither JAX nor SciPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._basins import FIGURES as FIGURES
    from ._basins import basins as basins
    from ._diffusion import Diffusion as Diffusion
    from ._flat_minima import flat_excess as flat_excess
    from ._flat_minima import flat_weight as flat_weight
    from ._flat_minima import leading_order as leading_order
    from ._kramers_moyal import kramers_moyal as kramers_moyal
    from ._steady_state import Basin as Basin
    from ._steady_state import BasinWarning as BasinWarning
    from ._steady_state import Parts as Parts
    from ._steady_state import SteadyState as SteadyState
    from ._steady_state import steady_state as steady_state
    from ._step_cumulants import step_cumulants as step_cumulants
    from ._sweep import Sweep as Sweep
    from ._sweep import temperature_sweep as temperature_sweep

_HOMES = {
    "_basins": ("FIGURES", "basins"),
    "_diffusion": ("Diffusion",),
    "_flat_minima": ("flat_excess", "flat_weight", "leading_order"),
    "_kramers_moyal": ("kramers_moyal",),
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
