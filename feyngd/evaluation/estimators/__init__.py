"""Estimators: ways to average over tuples of examples, and the sampler that chooses among them."""

from ._aimed import MOST_TWINS as MOST_TWINS
from ._aimed import Aim as Aim
from ._aimed import AimedSampler as AimedSampler
from ._draws import relative_error as relative_error
from ._effort import Effort as Effort
from ._estimator import Setting as Setting
from ._fresh_noise import FreshNoiseSampler as FreshNoiseSampler
from ._goals import Goal as Goal
from ._goals import Goals as Goals
from ._random_rows import random_rows as random_rows
from ._registry import KINDS as KINDS
from ._registry import NAMES as NAMES
from ._sampler import Sampler as Sampler
