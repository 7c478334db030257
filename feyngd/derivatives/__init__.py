"""Derivatives of one loss over many examples: traced losses and sums over chunks."""

from ._chunks import CHUNK as CHUNK
from ._chunks import full_blocks as full_blocks
from ._chunks import num_examples as num_examples
from ._chunks import sum_over as sum_over
from ._double_precision import LiftingError as LiftingError
from ._double_precision import is_double_throughout as is_double_throughout
from ._double_precision import is_key_array as is_key_array
from ._double_precision import lifted as lifted
from ._double_precision import lifted_array as lifted_array
from ._equations import bind as bind
from ._equations import double_dtype as double_dtype
from ._equations import dtype_of as dtype_of
from ._fingerprint import UnprovableError as UnprovableError
from ._fingerprint import digest_of_arrays as digest_of_arrays
from ._frozen_loss import FrozenLoss as FrozenLoss
from ._frozen_loss import frozen_loss as frozen_loss
from ._frozen_loss import noted as noted
from ._frozen_loss import per_loss as per_loss
from ._gradient_sizes import compiled_gradient_sizes as compiled_gradient_sizes
from ._gradient_sizes import gradient_sizes as gradient_sizes
from ._loss import Loss as Loss
from ._loss import flat_loss as flat_loss
from ._loss import num_params as num_params
from ._loss_sums import Sums as Sums
from ._traced_loss import TracedLoss as TracedLoss
