"""What a result belongs to: a loss, data and parameters, compared by their content."""

from dataclasses import dataclass
from typing import Any

from .._archive import keep_attributes
from ..derivatives import FrozenLoss, UnprovableError, digest_of_arrays
from ..errors import ArgumentError
from ._landscape import Landscape


@keep_attributes
@dataclass(frozen=True)
class Origin:
    """Hashes of what a result was computed from; an empty one is not known and differs from nothing.

    Attributes:
        loss: of what the loss computes, a measurement and an update.
        data: of the reading, the data and the test data.
        params: of the parameters.
    """

    loss: str
    data: str
    params: str

    @classmethod
    def of(cls, landscape: Landscape, params: Any) -> "Origin":
        """Return the origin of what is computed from a landscape at parameters, arrays, now."""
        frozen = landscape.frozen(params)
        functions = (frozen.loss, frozen.measured, frozen.update)
        digest = "".join(each.digest for each in functions if isinstance(each, FrozenLoss))
        try:
            return cls(digest, landscape.data_digest, digest_of_arrays(params))
        except UnprovableError:  # inside a transformation of JAX nothing has a value yet
            return cls(digest, "", "")

    def check(self, now: "Origin", what: str, cure: str) -> None:
        """Raise `ArgumentError` unless what is asked for now has the same origin.

        Args:
            now: the origin of what is asked for.
            what: the result, as in "These values".
            cure: what to do.
        """
        names = {"loss": "another loss", "data": "other data or another reading", "params": "other parameters"}
        pairs = {words: (getattr(self, name), getattr(now, name)) for name, words in names.items()}
        wrong = [words for words, (ours, theirs) in pairs.items() if ours and theirs and ours != theirs]
        if wrong:
            raise ArgumentError(
                f"{what} belong to {' and '.join(wrong)} (compared by content: losses, arrays, dtypes). {cure}"
            )
