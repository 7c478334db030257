"""Counting: the placements of a diagram in a spacetime."""

from ._count import count_embeddings as count_embeddings
from ._count import count_ratio as count_ratio
from ._count import embeddings as embeddings
from ._count import symbol_sizes as symbol_sizes
from ._embedding_value import embedding_value as embedding_value
from ._kernel_count import counts_after_every_step as counts_after_every_step
from ._kernel_count import kernel_count as kernel_count
from ._propagator_forms import PropagatorForms as PropagatorForms
from ._propagator_steps import resummed_count as resummed_count
from ._propagator_sums import propagated_count as propagated_count
from ._ratio import Ratio as Ratio
from ._ratio import constant as constant
from ._ratio import inverse_size as inverse_size
from ._sanity import sanity_check as sanity_check
