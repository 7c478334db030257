"""Estimators: ways to average over tuples of examples, and the sampler that chooses among them."""

from ._effort import Effort as Effort
from ._sampler import ESTIMATORS as ESTIMATORS
from ._sampler import estimate_numbers as estimate_numbers
from ._sampler import sampled_number as sampled_number
