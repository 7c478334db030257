"""What drives an escape: the noise of minibatches, injected noise, or both."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ...errors import ArgumentError
from .._numbers import check_choice, check_number

MODELS = ("measured", "hessian", "cumulants")
SAMPLINGS = ("with-replacement", "without-replacement", "reshuffled")


@dataclass(frozen=True)
class Noise:
    """The noise of SGD, of SGLD, or of their sum; made by `sgd`, `sgld` and `+`.

    In continuous time t = η · steps, D_e = D₀ + (η/2B) κ C_e is the diffusion along a direction e, in units of the
    loss. C_e is the variance of one example's slope, and κ is 1 with replacement, (M − B)/(M − 1) without.

    Attributes:
        batch_size: B; `None` where full gradients are used.
        model: what stands for C: "measured", or "hessian" for ρ|H|; "cumulants" keeps the whole distribution of slopes.
        rho: ρ.
        sampling: "with-replacement"; "without-replacement": batches without repeats, drawn independently of each other;
            "reshuffled": every example once an epoch, in simulations alone.
        isotropic: D₀, injected, in units of the loss.

    Examples:
        >>> from feyngd.companions import escape as esc
        >>> print(esc.sgd(8) + esc.sgld(1e-3))
        SGD with B = 8 and injected noise of D = 0.001
    """

    batch_size: int | None = None
    model: str = "measured"
    rho: float | None = None
    sampling: str = "with-replacement"
    isotropic: float = 0.0

    def __add__(self, other: Any) -> "Noise":
        if not isinstance(other, Noise):
            return NotImplemented
        if self.batch_size is not None and other.batch_size is not None:
            raise ArgumentError(f"A run has one batch size; got {self} and {other}. Add injected noise, sgld.")
        minibatch, plain = (self, other) if self.batch_size is not None else (other, self)
        total = minibatch.isotropic + plain.isotropic
        return Noise(minibatch.batch_size, minibatch.model, minibatch.rho, minibatch.sampling, total)

    def __str__(self) -> str:
        model = {
            "measured": "",
            "hessian": f", C = {self.rho:g}|H|" if self.rho else "",
            "cumulants": ", all cumulants",
        }
        sampling = "" if self.sampling == "with-replacement" else f", {self.sampling}"
        minibatches = "" if self.batch_size is None else f"SGD with B = {self.batch_size}{model[self.model]}{sampling}"
        injected = f"injected noise of D = {self.isotropic:g}" if self.isotropic else ""
        return " and ".join(filter(None, [minibatches, injected])) or "no noise"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def check_examples(self, count: int) -> None:
        """Raise `ArgumentError` unless batches can be drawn from a number of examples."""
        if self.sampling != "with-replacement" and self.batch_size is not None and self.batch_size > count:
            raise ArgumentError(
                f"A batch without repeats has at most M = {count} examples; got B = {self.batch_size}. Give a smaller "
                "B, or sampling='with-replacement'."
            )

    def share(self, rates: np.ndarray, count: int) -> np.ndarray:
        """Return κη/2B, by which C enters the diffusion, for learning rates of shape (R,); M is the number of examples.

        Raises:
            ArgumentError: the noise of successive steps is not independent, or B exceeds M without replacement.
        """
        if self.batch_size is None:
            return np.zeros_like(rates)
        if self.sampling == "reshuffled":
            raise ArgumentError(
                "The noise of reshuffled batches is anticorrelated from step to step, which no formula here covers: "
                "simulate it with esc.simulate, or give sampling='with-replacement' or 'without-replacement'."
            )
        self.check_examples(count)
        kappa = 1.0
        if self.sampling == "without-replacement":
            kappa = (count - self.batch_size) / max(count - 1, 1)
        return rates * kappa / (2 * self.batch_size)


def sgd(
    batch_size: int, *, model: str = "measured", rho: float | None = None, sampling: str = "with-replacement"
) -> Noise:
    """Return the noise of minibatches.

    Args:
        batch_size: B.
        model: "measured": C is that of the landscape. "hessian": C = ρ|H|, the paper's assumption, for
            `form="two-temperature"`; it changes when the loss is multiplied, and `noise_against_hessian` tests it.
            "cumulants": the whole distribution of the examples' slopes along the path.
        rho: ρ, for the model "hessian" alone; 1 by default there.
        sampling: "with-replacement", "without-replacement" or "reshuffled".

    Raises:
        ArgumentError: an argument is not allowed.

    References:
        Xie, Sato and Sugiyama, "A Diffusion Theory For Deep Learning Dynamics", equations (2)–(4).
    """
    batch_size = check_integer("The batch size", batch_size, least=1)
    check_choice("model", model, MODELS)
    check_choice("sampling", sampling, SAMPLINGS)
    if rho is not None and model != "hessian":
        raise ArgumentError(f"ρ is the scale of C = ρ|H|: give it with model='hessian', not with {model!r}.")
    if model == "hessian":
        rho = check_number("ρ", 1.0 if rho is None else rho, above=0)
    return Noise(batch_size, model, rho, sampling)


def sgld(D: float) -> Noise:
    """Return injected noise: a step adds √(2ηD) times a standard normal to every parameter.

    Args:
        D: the diffusion, in units of the loss, above 0: the temperature in exp(−l/D).

    Raises:
        ArgumentError: D is not positive and finite.
    """
    return Noise(isotropic=check_number("D", D, above=0))


def check_noise(noise: Any) -> Noise:
    """Return the noise, or raise `ArgumentError` unless it is one and not zero."""
    if not isinstance(noise, Noise):
        raise ArgumentError(f"The noise is made by esc.sgd(B), esc.sgld(D) or their sum; got {noise!r}.")
    if noise.batch_size is None and not noise.isotropic:
        raise ArgumentError("Without noise nothing escapes: give esc.sgd(B), esc.sgld(D) or their sum.")
    return noise
