"""Limiting dynamics: where SGD with momentum settles around a minimum, and how it moves there for ever.

After Kunin et al., "The limiting dynamics of SGD: modified loss, phase space oscillations, and anomalous diffusion",
with the corrections that docs/limiting.md lists. A basin is measured once; every limit is then arithmetic in double
precision: exact in discrete time on a quadratic loss, for any noise, with and without replacement.

Conventions: η is the learning rate, β the momentum, λ a coupled weight decay, B the batch size; H and Σ are Hessian and
covariance of the examples' gradients (divided by N) at the minimum, K = H + λ; δ is a step, v = δ/η the velocity.
Numbers are in params² per step, losses in the unit of the loss.

Names are imported on first use: this module itself needs neither JAX nor SciPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._assumptions import Assumption as Assumption
    from .._assumptions import Assumptions as Assumptions
    from ._basin import Basin as Basin
    from ._eigenpairs import Eigenpairs as Eigenpairs
    from ._eigenpairs import top_eigenpairs as top_eigenpairs
    from ._equal_excess import EqualExcess as EqualExcess
    from ._limit import Limit as Limit
    from ._measure import basin as basin
    from ._monitor import MonitorState as MonitorState
    from ._monitor import StationarityMonitor as StationarityMonitor
    from ._monitor import StationarityReport as StationarityReport
    from ._ornstein_uhlenbeck import Decomposition as Decomposition
    from ._ornstein_uhlenbeck import OrnsteinUhlenbeck as OrnsteinUhlenbeck
    from ._regression import regression_limit as regression_limit
    from ._results import AveragedEstimate as AveragedEstimate
    from ._results import Curve as Curve
    from ._results import LimitEstimate as LimitEstimate
    from ._results import Modes as Modes
    from ._trajectories import Comparison as Comparison
    from ._trajectories import Trajectories as Trajectories
    from ._trajectories import trajectories as trajectories

_HOMES = {
    ".._assumptions": ("Assumption", "Assumptions"),
    "._basin": ("Basin",),
    "._eigenpairs": ("Eigenpairs", "top_eigenpairs"),
    "._equal_excess": ("EqualExcess",),
    "._limit": ("Limit",),
    "._measure": ("basin",),
    "._monitor": ("MonitorState", "StationarityMonitor", "StationarityReport"),
    "._ornstein_uhlenbeck": ("Decomposition", "OrnsteinUhlenbeck"),
    "._regression": ("regression_limit",),
    "._results": ("AveragedEstimate", "Curve", "LimitEstimate", "Modes"),
    "._trajectories": ("Comparison", "Trajectories", "trajectories"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
