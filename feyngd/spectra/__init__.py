"""Spectra: matrices of curvature and noise, dense or by Lanczos."""

from ._lanczos import Krylov as Krylov
from ._lanczos import Response as Response
from ._lanczos import signs as signs
from ._matrices import compiled_combinations as compiled_combinations
from ._matrices import compiled_matrices as compiled_matrices
from ._matrices import covariance_and_hessian as covariance_and_hessian
from ._noise_spectrum import Point as Point
from ._trace_estimate import DENSE as DENSE
from ._trace_estimate import Trace as Trace
from ._trace_estimate import check_num_examples as check_num_examples
