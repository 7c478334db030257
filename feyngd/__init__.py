"""feyngd: the diagram calculus of stochastic gradient descent.

A diagram is a rooted tree with a partition of its nodes. Counting its placements in a spacetime of (datapoint, step)
cells gives the coefficient of one term in the expansion of an expected loss in the learning rate; contracting the
derivatives of the loss along its edges gives the value of that term on a given network.

Conventions:

====================  ==============================================================================================
learning rate         η > 0; every step is θ ← θ − η ∇(mean loss of the batch)
order                 the number of edges of a diagram = its power of η
edges                 point from parent to child; a child is an earlier step than its parent
root                  node 0: the measurement after the last step; every other node is one step on one datapoint
parts, ties           nodes in one part are tied: they see the same datapoint
moment value          the mean over one independent datapoint for each part
cumulant value        joint cumulants over each part; a lone node is a derivative of the mean loss
coefficient           (−1/B)^order · #embeddings / |Aut|; it multiplies η^order · value
kernel                with an optimizer the edge from step s to step t weighs κ(t, s); plain SGD has κ = 1
N, B, E, T            training points, batch size, epochs, steps: T = E·N/B if B divides N
G, H, J               first, second, third derivative of the mean loss
C, S                  second and third cumulant of the gradient of one datapoint's loss
gap                   test loss minus train loss
====================  ==============================================================================================

Everything symbolic is exact and needs no JAX. What needs SymPy or JAX is imported on first
use, so `import feyngd` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._program_cache import keep_programs as keep_programs
from ._version import __version__ as __version__
from .diagrams import CellDiagram as CellDiagram
from .diagrams import Diagram as Diagram
from .diagrams import Forest as Forest
from .diagrams import Outline as Outline
from .diagrams import cell_diagrams as cell_diagrams
from .diagrams import count_cell_diagrams as count_cell_diagrams
from .diagrams import count_diagrams as count_diagrams
from .diagrams import count_orderings as count_orderings
from .diagrams import diagrams as diagrams
from .diagrams import each_diagram as each_diagram
from .diagrams import outline as outline
from .diagrams import tensor_expression as tensor_expression
from .errors import ArgumentError as ArgumentError
from .errors import DiagramError as DiagramError
from .errors import FeynGDError as FeynGDError
from .errors import LandscapeError as LandscapeError
from .errors import MismatchError as MismatchError
from .errors import SpacetimeError as SpacetimeError

if TYPE_CHECKING:
    from . import companions as companions
    from . import drawing as drawing
    from . import experiments as experiments
    from . import landscapes as landscapes
    from . import testing as testing
    from . import training as training
    from .anchoring import AdviceTable as AdviceTable
    from .anchoring import Anchored as Anchored
    from .anchoring import AnchoredPrediction as AnchoredPrediction
    from .anchoring import advise as advise
    from .anchoring import anchor as anchor
    from .counting import count_embeddings as count_embeddings
    from .counting import embedding_value as embedding_value
    from .counting import embeddings as embeddings
    from .counting import sanity_check as sanity_check
    from .estimates import Estimate as Estimate
    from .estimates import PrecisionWarning as PrecisionWarning
    from .estimates import TruncationWarning as TruncationWarning
    from .evaluation import Plan as Plan
    from .evaluation import Values as Values
    from .evaluation import evaluate as evaluate
    from .evaluation import plan as plan
    from .kinks import SmoothnessWarning as SmoothnessWarning
    from .landscapes import Landscape as Landscape
    from .minima import IterateCovariance as IterateCovariance
    from .minima import NearMinimum as NearMinimum
    from .minima import ResummedPrediction as ResummedPrediction
    from .minima import StabilityThreshold as StabilityThreshold
    from .minima import StationaryNoise as StationaryNoise
    from .minima import entropic_drift as entropic_drift
    from .minima import iterate_covariance as iterate_covariance
    from .minima import near_minimum as near_minimum
    from .minima import stability_threshold as stability_threshold
    from .minima import stationary_noise as stationary_noise
    from .optimizers import Optimizer as Optimizer
    from .optimizers import averaged as averaged
    from .optimizers import from_optax as from_optax
    from .optimizers import momentum as momentum
    from .optimizers import preconditioned as preconditioned
    from .optimizers import schedule as schedule
    from .optimizers import sgd as sgd
    from .prediction import Comparison as Comparison
    from .prediction import LearningCurve as LearningCurve
    from .prediction import Prediction as Prediction
    from .prediction import compare as compare
    from .prediction import predict as predict
    from .progress import Progress as Progress
    from .progress import Tqdm as Tqdm
    from .quantities import measurement as measurement
    from .quantities import variance as variance
    from .series import DoubleSeries as DoubleSeries
    from .series import DoubleTerm as DoubleTerm
    from .series import ModifiedFlow as ModifiedFlow
    from .series import ResummedSeries as ResummedSeries
    from .series import Series as Series
    from .series import double_series as double_series
    from .series import expand as expand
    from .series import modified_flow as modified_flow
    from .series import ode as ode
    from .series import resum as resum
    from .series import sde as sde
    from .simulation import SDESimulation as SDESimulation
    from .simulation import SimulatedCurves as SimulatedCurves
    from .simulation import Simulation as Simulation
    from .simulation import simulate as simulate
    from .simulation import simulate_sde as simulate_sde
    from .spacetimes import Spacetime as Spacetime
    from .studies import study as study
    from .studies import sweep as sweep

_SUBMODULES = ("companions", "drawing", "experiments", "landscapes", "testing", "training")
_HOMES = {
    "anchoring": ("AdviceTable", "Anchored", "AnchoredPrediction", "advise", "anchor"),
    "counting": ("count_embeddings", "embedding_value", "embeddings", "sanity_check"),
    "estimates": ("Estimate", "PrecisionWarning", "TruncationWarning"),
    "evaluation": ("Plan", "Values", "evaluate", "plan"),
    "kinks": ("SmoothnessWarning",),
    "landscapes": ("Landscape",),
    "minima": (
        "IterateCovariance",
        "NearMinimum",
        "ResummedPrediction",
        "StabilityThreshold",
        "StationaryNoise",
        "entropic_drift",
        "iterate_covariance",
        "near_minimum",
        "stability_threshold",
        "stationary_noise",
    ),
    "optimizers": ("Optimizer", "averaged", "from_optax", "momentum", "preconditioned", "schedule", "sgd"),
    "prediction": ("Comparison", "LearningCurve", "Prediction", "compare", "predict"),
    "progress": ("Progress", "Tqdm"),
    "quantities": ("measurement", "variance"),
    "series": (
        "DoubleSeries",
        "DoubleTerm",
        "ModifiedFlow",
        "ResummedSeries",
        "Series",
        "double_series",
        "expand",
        "modified_flow",
        "ode",
        "resum",
        "sde",
    ),
    "simulation": ("SDESimulation", "SimulatedCurves", "Simulation", "simulate", "simulate_sde"),
    "spacetimes": ("Spacetime",),
    "studies": ("study", "sweep"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_EAGER = tuple(name for name, value in globals().items() if getattr(value, "__module__", "").startswith("feyngd."))

__all__ = sorted({*_EAGER, *_HOME_OF, *_SUBMODULES})


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name in _HOME_OF:
        return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
