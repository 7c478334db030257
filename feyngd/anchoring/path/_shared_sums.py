"""Sums in which means over all examples are shared out among devices."""

from jaxtyping import Array, Float, PyTree

from ..._mesh import Devices
from ...derivatives import Loss, Sums


class SharedSums(Sums):
    """Sums over given examples, as in `Sums`; means over all examples are made of the shares of devices.

    Those means are the same on every device. They must not be asked for in what belongs to one device's runs alone.

    Args:
        loss: `loss(params, example)`.
        params: a pytree of parameters; its vector is `start`.
        chunk_size: how many examples are differentiated together.
        devices: those that share the examples.
    """

    def __init__(self, loss: Loss, params: PyTree, chunk_size: int, devices: Devices) -> None:
        super().__init__(loss, params, chunk_size)
        self._devices = devices

    def own(self, examples: PyTree) -> tuple[PyTree, Float[Array, " share"]]:
        """Return this device's share of the examples, and the weights that they have in the mean over all."""
        return self._devices.own(examples), self._devices.own_weights(self.equal(examples))

    def mean_gradient(
        self, point: Float[Array, " params"], examples: PyTree
    ) -> tuple[Float[Array, ""], Float[Array, " params"]]:
        """Return the mean over examples and its gradient."""
        return self._devices.total(self.gradient(point, *self.own(examples)))

    def mean_products(
        self, point: Float[Array, " params"], examples: PyTree, vectors: Float[Array, "vectors params"]
    ) -> Float[Array, "vectors params"]:
        """Return the Hessian of the mean over examples times each of some vectors."""
        return self._devices.total(self.products(point, *self.own(examples), vectors))
