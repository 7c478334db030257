"""A report on the noise of minibatches: against the Hessian, against a normal, and on the way over a barrier."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ..._keys import check_key
from ...errors import LandscapeError
from ...landscapes import Landscape
from ._along_track import EFFECTIVE, Track
from ._escape_path import Leg
from ._escape_time import check_leg
from ._noise import sgd
from ._noise_against_hessian import NoiseAlignment, noise_against_hessian
from ._noise_shape import NoiseShape, noise_shape
from ._surface import Surface


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """What the noise of minibatches is like where a run starts, and on a way out.

    Attributes:
        alignment: C against H.
        shape: batches of one size against a normal.
        examples: M.
        effective_examples: the least number of examples that carry the average over all cumulants on the way, at most
            M; with fewer than 10 a few extreme slopes decide. NaN without a way, or where nothing steps over it.
        exponent_ratio: the exponent of all cumulants over that of the diffusion, the same for all batch sizes and
            learning rates; 1 for normal noise. NaN likewise.
        obstacle: why there are none of both, in words; "" otherwise.
    """

    alignment: NoiseAlignment
    shape: NoiseShape
    examples: int
    effective_examples: float = math.nan
    exponent_ratio: float = math.nan
    obstacle: str = ""

    @property
    def gaussian_from(self) -> int:
        """The batch size from which the mean excess kurtosis of a parameter's noise is below 0.1."""
        return self.shape.suggested_batch_size

    def __str__(self) -> str:
        if self.obstacle:
            way = f"all cumulants: {self.obstacle}"
        elif math.isnan(self.effective_examples):
            way = "all cumulants: no way out was given"
        else:
            few = "" if self.effective_examples >= EFFECTIVE else f", fewer than the {EFFECTIVE:g} that are needed"
            way = (
                f"all cumulants: carried by at least {self.effective_examples:.1f} effective examples of "
                f"{self.examples}{few}; {self.exponent_ratio:.4g} times the diffusion's exponent at every η"
            )
        return "\n".join([str(self.alignment), str(self.shape), way])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is not finite is `None`."""
        numbers = {name: getattr(self, name) for name in ("effective_examples", "exponent_ratio")}
        return {
            "alignment": self.alignment.to_dict(),
            "shape": self.shape.to_dict(),
            "gaussian_from": self.gaussian_from,
            "examples": self.examples,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "obstacle": self.obstacle,
        }


def noise_report(
    landscape: Landscape,
    params: Any,
    batch_size: int,
    *,
    leg: Leg | None = None,
    top: int | None = None,
    batches: int = 1000,
    chunk_size: int = 64,
    key: Any,
) -> NoiseReport:
    """Report what the noise of minibatches is like, against the Hessian, a normal, and the diffusion's exponent.

    Args:
        landscape: the loss and its data.
        params: where.
        batch_size: B.
        leg: a way out, one of a path's `legs`, along which the examples' slopes are looked at.
        top: how many of the sharpest eigenvectors are compared, needed beyond 1,500 parameters.
        batches: how many are drawn, a multiple of 10 of at least 20.
        chunk_size: how many examples are differentiated together.
        key: a JAX random key.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: no parameter has noise.

    Examples:
        >>> import jax
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> well, start = toys.double_well()
        >>> leg = esc.find_path(well, start, -start, key=jax.random.key(0)).legs[0]
        >>> report = esc.noise_report(well, leg.minimum.params, 4, leg=leg, batches=100, key=jax.random.key(1))
        >>> print(report.gaussian_from, f"{report.effective_examples:.1f} of {report.examples}")
        1 12.1 of 30
    """
    check_integer("The batch size", batch_size, least=1)
    check_key(key, "Batches are drawn at random")
    track = None
    if leg is not None:
        check_leg(leg)
        track = Track(Surface(landscape, leg.minimum.params, chunk_size), leg)
    alignment = noise_against_hessian(landscape, params, top=top, chunk_size=chunk_size, key=key)
    shape = noise_shape(landscape, params, batch_size, batches=batches, chunk_size=chunk_size, key=key)
    examples = landscape.num_examples
    if track is None:
        return NoiseReport(alignment, shape, examples)
    try:
        track.check_noise(sgd(batch_size))
        integral, effective = track.cumulants()
    except LandscapeError as error:
        return NoiseReport(alignment, shape, examples, obstacle=str(error))
    diffusion = float(np.sum(track.weights * 2 * track.slope / track.noise))
    return NoiseReport(alignment, shape, examples, effective, integral / diffusion)
