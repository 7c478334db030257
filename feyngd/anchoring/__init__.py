"""Whole training runs: SGD's noise along the path of noiseless descent."""

from ._advice import Advice as Advice
from ._advice import advise as advise
from ._advice import anchored_for_advice as anchored_for_advice
from ._anchor import InterruptedWarning as InterruptedWarning
from ._anchor import anchor as anchor
from ._anchored import Anchored as Anchored
from ._prediction import AnchoredPrediction as AnchoredPrediction
from ._study import Curve as Curve
from ._study import anchor_study as anchor_study
from ._ties import Ties as Ties
from ._ties import noise_weights as noise_weights
