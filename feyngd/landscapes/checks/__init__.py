"""What makes data, parameters and a loss a landscape, checked before any long computation."""

from ._array_leaves import as_numbers as as_numbers
from ._arrays import check_loss_value as check_loss_value
from ._arrays import check_same_examples as check_same_examples
from ._arrays import example_arrays as example_arrays
from ._arrays import nonfinite_leaf as nonfinite_leaf
from ._arrays import param_arrays as param_arrays
from ._traces import check_depends_on_key as check_depends_on_key
from ._traces import check_depends_on_params as check_depends_on_params
from ._traces import check_forward_mode as check_forward_mode
from ._traces import check_no_constant_key as check_no_constant_key
from ._traces import check_reverse_mode as check_reverse_mode
from ._traces import trace_loss as trace_loss
from ._traces import trace_update as trace_update
