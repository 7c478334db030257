"""Which spacetimes suit which reading of a dataset."""

from ..errors import SpacetimeError
from ..spacetimes import Spacetime
from ._landscape import Landscape

_EXCHANGEABLE = ("reshuffled", "with-replacement", "full-batch")


def check_reading(landscape: Landscape, spacetime: Spacetime) -> None:
    """Raise `SpacetimeError` unless the number of training points and the sampling suit the landscape's reading."""
    N, M = int(spacetime.N), landscape.num_examples
    if landscape.reading == "unbiased" and N >= M:
        raise SpacetimeError(
            f"In the unbiased reading a training set is N distinct examples and the others test it, so N < {M}, the "
            f"number of examples; got N={N}."
        )
    if landscape.reading == "conditional":
        if N != M:
            raise SpacetimeError(
                f"In the conditional reading the training set is the data, so N = {M}, the number of examples; got "
                f"N={N}."
            )
        if spacetime.sampling not in _EXCHANGEABLE:
            raise SpacetimeError(
                f"In the conditional reading only the order of the data is random, and {spacetime.sampling} batches "
                "leave nothing random: use sampling='reshuffled' or 'with-replacement', or full batches."
            )
