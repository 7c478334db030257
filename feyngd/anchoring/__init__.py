"""Whole training runs: SGD's noise along the path of noiseless descent."""

from .._deprecations import moved
from ._advice import Advice as Advice
from ._advice import AdviceTable as AdviceTable
from ._advise import advise as advise
from ._advise import anchored_for_advice as anchored_for_advice
from ._anchor import InterruptedWarning as InterruptedWarning
from ._anchor import anchor as anchor
from ._anchored import Anchored as Anchored
from ._noise_weights import Ties as Ties
from ._noise_weights import noise_weights as noise_weights
from ._prediction import AnchoredPrediction as AnchoredPrediction

_MOVED = {"Curve": "feyngd.studies.Curve", "anchor_study": "feyngd.studies.anchor_study"}
__getattr__ = moved(__name__, _MOVED, since="0.2", until="0.4")
