"""Near a minimum: re-summed predictions from the spectrum of the noise, and where noise carries the parameters."""

from ._drift import DenseMinimum as DenseMinimum
from ._drift import entropic_drift as entropic_drift
from ._iterate_covariance import IterateCovariance as IterateCovariance
from ._iterate_covariance import iterate_covariance as iterate_covariance
from ._mean_loss import MeanLoss as MeanLoss
from ._minimum import Minimum as Minimum
from ._minimum import minimum as minimum
from ._near_minimum import NearMinimum as NearMinimum
from ._near_minimum import near_minimum as near_minimum
from ._resummed_prediction import ResummedPrediction as ResummedPrediction
from ._stability_threshold import StabilityThreshold as StabilityThreshold
from ._stability_threshold import stability_threshold as stability_threshold
from ._stationary import StationaryNoise as StationaryNoise
from ._stationary import stationary_noise as stationary_noise
