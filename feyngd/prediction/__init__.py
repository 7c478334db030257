"""Prediction: series times values, and the comparison of any prediction with simulations."""

from .._deprecations import moved
from ._compare import Comparison as Comparison
from ._compare import compare as compare
from ._fitted_order import FittedOrder as FittedOrder
from ._fitted_order import OrderCheck as OrderCheck
from ._fitted_order import check_coefficient as check_coefficient
from ._fitted_order import check_highest_order as check_highest_order
from ._fitted_order import decide as decide
from ._fitted_order import fit_order as fit_order
from ._learning_curve import LearningCurve as LearningCurve
from ._predict import predict as predict
from ._prediction import Prediction as Prediction
from ._values_needed import Question as Question
from ._values_needed import series_by_root as series_by_root
from ._values_needed import values_for as values_for

_MOVED = {
    "ResummedPrediction": "feyngd.ResummedPrediction",
    "SDESimulation": "feyngd.SDESimulation",
    "Simulation": "feyngd.Simulation",
    "TruncationWarning": "feyngd.TruncationWarning",
    "check_order": "feyngd.prediction.check_highest_order",
    "simulate": "feyngd.simulate",
    "simulate_sde": "feyngd.simulate_sde",
    "study": "feyngd.study",
    "sweep": "feyngd.sweep",
}
__getattr__ = moved(__name__, _MOVED, since="0.2", until="0.4")
