"""Prediction: series times values, simulation, and the comparison of the two."""

from ._compare import Comparison as Comparison
from ._compare import compare as compare
from ._fitted_order import FittedOrder as FittedOrder
from ._fitted_order import OrderCheck as OrderCheck
from ._fitted_order import check_coefficient as check_coefficient
from ._fitted_order import check_order as check_order
from ._fitted_order import decide as decide
from ._fitted_order import fit_order as fit_order
from ._lost_updates import check_updates_kept as check_updates_kept
from ._plots import LABELS as LABELS
from ._plots import PALETTE as PALETTE
from ._plots import new_axes as new_axes
from ._predict import Prediction as Prediction
from ._predict import TruncationWarning as TruncationWarning
from ._predict import check_learning_rates as check_learning_rates
from ._predict import predict as predict
from ._readings import check_reading as check_reading
from ._resummed_prediction import ResummedPrediction as ResummedPrediction
from ._simulate import Simulation as Simulation
from ._simulate import simulate as simulate
from ._simulate_sde import SDESimulation as SDESimulation
from ._simulate_sde import simulate_sde as simulate_sde
from ._study import study as study
from ._sweep import sweep as sweep
