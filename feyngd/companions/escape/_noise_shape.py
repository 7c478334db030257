"""Gaussian or heavy tails: what the noise of minibatches looks like, across batches and across parameters."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from ..._arguments import check_integer
from ..._keys import check_key
from ...drawing import new_figure
from ...errors import ArgumentError, LandscapeError
from ...landscapes import Landscape
from .._numbers import check_numbers
from ._surface import Surface

_TOGETHER = 64  # batches whose gradients are summed at once
_BLOCK = 10
_BESIDE, _ROUNDING = 1e-6, 1e-9  # of 1 + ‖θ‖, a move; of the gradients there, what is rounding
_CANCELLED = 1e-10  # of the sizes of terms, below which their sum is rounding


def tail_index(x: ArrayLike, block: int) -> float:
    """Return the index α of a symmetric stable law from independent draws: 2 for a normal, 1 for Cauchy's.

    1/α = (mean log|sums of blocks| − mean log|draws|)/log block.

    Args:
        x: draws without zeros, in one row; the sums are over successive blocks.
        block: how many draws a block has; their number is a multiple of it, of at least two blocks.

    Raises:
        ArgumentError: a draw is 0 or not finite, or the blocks do not fit.

    References:
        Mohammadi, Mohammadpour and Ogata, "On estimating the tail index and the spectral measure of multivariate
        α-stable distributions", Metrika 78, 549 (2015), as used by Şimşekli, Sagun and Gürbüzbalaban (2019).

    Examples:
        >>> import numpy as np
        >>> from feyngd.companions.escape import tail_index
        >>> print(f"{tail_index(np.random.default_rng(0).standard_cauchy(10_000), 100):.6f}")
        1.035888
    """
    draws = check_numbers("Draws", x)
    block = check_integer("block", block, least=2)
    if draws.ndim != 1 or len(draws) % block or len(draws) // block < 2:
        raise ArgumentError(
            f"Blocks of {block} have to divide the draws into at least 2; got shape {draws.shape}. Leave draws out, or "
            "choose another block."
        )
    if not np.all(np.isfinite(draws)) or np.any(draws == 0):
        raise ArgumentError(
            f"Draws are finite and not 0, as logarithms are taken; {int(np.sum(draws == 0))} of these are 0 and "
            f"{int(np.sum(~np.isfinite(draws)))} not finite. Leave out parameters without noise."
        )
    sums = draws.reshape(-1, block).sum(axis=1)
    if np.any(sums == 0):
        raise ArgumentError("A block of draws has the sum 0, which has no logarithm: shuffle, or choose another block.")
    slope = (np.mean(np.log(np.abs(sums))) - np.mean(np.log(np.abs(draws)))) / np.log(block)
    return float(1 / slope)


@dataclass(frozen=True, eq=False)
class NoiseShape:
    """The noise of minibatches of one size at a point; noise is a batch's gradient less the mean gradient.

    Attributes:
        batch_size: B.
        norms: ‖noise‖ of every batch.
        gaussian_norms: of as many draws from a normal with the same covariance C/B.
        components: the noise of the first batch in every parameter that has any, in units of its own deviation.
        kurtosis: the excess kurtosis of a parameter's noise across batches: exactly κ₄/(κ₂²B) for every parameter with
            noise, which falls like 1/B.
        index_across_batches: the stable index of a parameter's noise across batches, averaged over parameters.
        index_across_parameters: of the first batch's noise across parameters, as Şimşekli and others take it: it mixes
            parameters whose noise differs in size, and can be far below 2 for normal noise.
        gaussian_index_across_parameters: the same for the matched normal draws.
        suggested_batch_size: from which B on the mean excess kurtosis is below 0.1.
    """

    batch_size: int
    norms: np.ndarray
    gaussian_norms: np.ndarray
    components: np.ndarray
    kurtosis: np.ndarray
    index_across_batches: float
    index_across_parameters: float
    gaussian_index_across_parameters: float
    suggested_batch_size: int

    def __str__(self) -> str:
        return (
            f"noise of batches of {self.batch_size}: stable index {self.index_across_batches:.3f} across batches, "
            f"{self.index_across_parameters:.3f} across parameters (matched normal: "
            f"{self.gaussian_index_across_parameters:.3f}); mean excess kurtosis {self.kurtosis.mean():.3g}, below 0.1 "
            f"from B = {self.suggested_batch_size}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        arrays = ("norms", "gaussian_norms", "components", "kurtosis")
        rest = ("batch_size", "index_across_batches", "index_across_parameters", "gaussian_index_across_parameters")
        plain = {name: getattr(self, name) for name in (*rest, "suggested_batch_size")}
        finite = {name: value if np.isfinite(value) else None for name, value in plain.items()}
        return {**finite, **{name: getattr(self, name).tolist() for name in arrays}}

    def plot(self, ax: Any = None) -> Any:
        """Plot how the norms are distributed, beside those of the matched normal; returns the axes."""
        if ax is None:
            ax = new_figure()[1][0, 0]
        bins = np.linspace(0, 1.02 * max(self.norms.max(), self.gaussian_norms.max()), 41)
        ax.hist(self.norms, bins, density=True, color="#0072B2", alpha=0.6, label=f"batches of {self.batch_size}")
        ax.hist(self.gaussian_norms, bins, density=True, histtype="step", color="#E69F00", label="matched normal")
        ax.set_xlabel("norm of the noise")
        ax.set_ylabel("density")
        ax.legend(frameon=False)
        return ax


def noise_shape(
    landscape: Landscape, params: Any, batch_size: int, *, batches: int = 1000, chunk_size: int = 64, key: Any
) -> NoiseShape:
    """Measure what the noise of minibatches, drawn with replacement, looks like at a point.

    Args:
        landscape: the loss and its data.
        params: where.
        batch_size: B.
        batches: how many are drawn, a multiple of 10 of at least 20.
        chunk_size: how many examples are differentiated together.
        key: a JAX random key.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: no parameter has noise.

    References:
        Xie, Sato and Sugiyama, figures 1 and 7.
    """
    batch_size = check_integer("The batch size", batch_size, least=1)
    batches = check_integer("batches", batches, least=2 * _BLOCK)
    if batches % _BLOCK:
        raise ArgumentError(f"batches is a multiple of {_BLOCK}, for blocks of the stable index; got {batches}.")
    check_key(key, "Batches are drawn at random")
    surface = Surface(landscape, params, chunk_size)
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())
    second, fourth = _moments(surface)
    size = 1 + float(np.linalg.norm(surface.start))
    beside = surface.gradient_scale(surface.start + _BESIDE * size / surface.size**0.5)
    if np.sqrt(second.max()) <= _ROUNDING * beside:
        raise LandscapeError(
            f"All examples have one gradient here, up to {np.sqrt(second.max()):.2g}: batches have no noise, as where "
            "all examples fit. Choose another point."
        )
    noise, normal = _draws(surface, batch_size, batches, rng)
    moving = second > 1e-24 * max(float(second.max()), 1e-300)
    excess = fourth[moving] / second[moving] ** 2 - 3
    deviations = np.sqrt(second[moving] / batch_size)
    across = noise[:, moving] / deviations
    # In the order of the layers, blocks would be rows of a softmax layer, whose slopes cancel: so in a random order.
    mixed = rng.permutation(np.flatnonzero(moving))
    return NoiseShape(
        batch_size,
        np.linalg.norm(noise, axis=1),
        np.linalg.norm(normal, axis=1),
        across[0],
        excess / batch_size,
        float(np.mean([_index(column) for column in across.T[:200]])),
        _index(noise[0, mixed]),
        _index(normal[0, mixed]),
        int(max(1, np.ceil(abs(excess.mean()) / 0.1))),
    )


def _index(x: np.ndarray) -> float:
    """Return the stable index, without draws and blocks that cancel up to rounding, as those of few values can."""
    kept = x[np.abs(x) > _CANCELLED * np.abs(x).max(initial=0.0)]
    blocks = kept[: len(kept) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    kept = blocks[np.abs(blocks.sum(axis=1)) > _CANCELLED * np.abs(blocks).sum(axis=1)].ravel()
    return tail_index(kept, _BLOCK) if len(kept) >= 2 * _BLOCK else float("nan")


def _draws(surface: Surface, batch_size: int, batches: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the noise of batches and normal draws with the same covariance, shape (batches, p) each."""
    count, found = surface.count, []
    for first in range(0, batches, _TOGETHER):
        rows = min(_TOGETHER, batches - first)
        weights = np.zeros((2 * _TOGETHER, count))
        weights[:rows] = rng.multinomial(batch_size, np.full(count, 1 / count), size=rows) / batch_size - 1 / count
        normal = rng.standard_normal((rows, count))
        centred = normal - normal.mean(axis=1, keepdims=True)
        weights[_TOGETHER : _TOGETHER + rows] = centred / (count * batch_size) ** 0.5
        sums = surface.combinations(surface.start, weights)
        found.append((sums[:rows], sums[_TOGETHER : _TOGETHER + rows]))
    noise, gaussian = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return noise, gaussian


def _moments(surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """Return the second and fourth central moment of every parameter's slope over the examples."""
    return surface.central_moments(surface.start)
