"""Escape from minima: how long the noise of SGD, or injected noise, takes to carry a run over a barrier.

After Xie, Sato and Sugiyama, "A Diffusion Theory For Deep Learning Dynamics: Stochastic Gradient Descent Exponentially
Favors Flat Minima", with the corrections that docs/escape.md lists. Conventions: t = η · steps is time; l is the mean
loss, G and H its derivatives; C is the covariance of one example's gradient, divided by M; a is a minimum, b a saddle;
X_e = e·Xe along the unit tangent e of a path; D_e = D₀ + (η/2B) κ C_e. Rates are escapes in one step.

Names are imported on first use: this module itself needs neither JAX nor SciPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._assumptions import Assumption as Assumption
    from .._assumptions import Assumptions as Assumptions
    from ._assumptions import assumptions as assumptions
    from ._box import box_exit_time as box_exit_time
    from ._critical_point import CriticalPoint as CriticalPoint
    from ._critical_point import find_saddle as find_saddle
    from ._escape_path import EscapePath as EscapePath
    from ._escape_path import Leg as Leg
    from ._escape_time import escape_time as escape_time
    from ._escapes import Escapes as Escapes
    from ._find_path import find_path as find_path
    from ._least_action import ActionPath as ActionPath
    from ._least_action import least_action as least_action
    from ._next_order import diagrams_at as diagrams_at
    from ._noise import Noise as Noise
    from ._noise import sgd as sgd
    from ._noise import sgld as sgld
    from ._noise_against_hessian import NoiseAlignment as NoiseAlignment
    from ._noise_against_hessian import noise_against_hessian as noise_against_hessian
    from ._noise_report import NoiseReport as NoiseReport
    from ._noise_report import noise_report as noise_report
    from ._noise_shape import NoiseShape as NoiseShape
    from ._noise_shape import noise_shape as noise_shape
    from ._noise_shape import tail_index as tail_index
    from ._one_parameter import exact_steps as exact_steps
    from ._one_parameter import exact_time as exact_time
    from ._overview import Overview as Overview
    from ._overview import overview as overview
    from ._plan import batch_size_for as batch_size_for
    from ._plan import horizon as horizon
    from ._plan import learning_rate_for as learning_rate_for
    from ._plan import plan as plan
    from ._rates import occupation as occupation
    from ._rates import total_rate as total_rate
    from ._report import EscapeReport as EscapeReport
    from ._report import escape_report as escape_report
    from ._rescale import rescale as rescale
    from ._result import EscapeTime as EscapeTime
    from ._simulate import simulate as simulate
    from ._until import Box as Box
    from ._until import Halfspace as Halfspace
    from ._until import Other as Other
    from ._vacuum_diagrams import Diagrams as Diagrams

_HOMES = {
    "._assumptions": ("Assumption", "Assumptions"),
    "_assumptions": ("assumptions",),
    "_box": ("box_exit_time",),
    "_critical_point": ("CriticalPoint", "find_saddle"),
    "_escape_path": ("EscapePath", "Leg"),
    "_escape_time": ("escape_time",),
    "_escapes": ("Escapes",),
    "_find_path": ("find_path",),
    "_least_action": ("ActionPath", "least_action"),
    "_next_order": ("diagrams_at",),
    "_noise": ("Noise", "sgd", "sgld"),
    "_noise_against_hessian": ("NoiseAlignment", "noise_against_hessian"),
    "_noise_report": ("NoiseReport", "noise_report"),
    "_noise_shape": ("NoiseShape", "noise_shape", "tail_index"),
    "_one_parameter": ("exact_steps", "exact_time"),
    "_overview": ("Overview", "overview"),
    "_plan": ("batch_size_for", "horizon", "learning_rate_for", "plan"),
    "_rates": ("occupation", "total_rate"),
    "_report": ("EscapeReport", "escape_report"),
    "_rescale": ("rescale",),
    "_result": ("EscapeTime",),
    "_simulate": ("simulate",),
    "_until": ("Box", "Halfspace", "Other"),
    "_vacuum_diagrams": ("Diagrams",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
