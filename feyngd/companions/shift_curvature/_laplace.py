"""Laplace's method for the integral of exp(−2v/T) around a minimum of v: leading order and the next."""

import numpy as np

from ._diffusion import Diffusion


def log_laplace_weights(diffusion: Diffusion, temperature: float, modes: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Return the logarithm of √((πT)^p / |∇²v|) e^(−2v/T) for every mode, shape (K,).

    Args:
        diffusion: v belongs to it.
        temperature: T.
        modes: minima of v, shape (K, p).
        depths: v at the modes, shape (K,).

    References:
        Bradley et al., appendix B.1 (corrected: printed without T).
    """
    hessians = diffusion.at("jacobian", modes, temperature)
    logs = np.linalg.slogdet((hessians + np.swapaxes(hessians, 1, 2)) / 2)[1]
    return (modes.shape[1] * np.log(np.pi * temperature) - logs) / 2 - 2 * depths / temperature


def next_order(diffusion: Diffusion, temperature: float, modes: np.ndarray) -> np.ndarray:
    """Return the next term of the integral over its leading one for every mode, shape (K,).

    With h = (∇²v)⁻¹ it is (T/2)[v_ijk v_lmn (h_ij h_kl h_mn/8 + h_il h_jm h_kn/12) − v_ijkl h_ij h_kl/8].
    """
    second, third, fourth = (diffusion.at(name, modes, temperature) for name in ("jacobian", "second", "third"))
    h = np.linalg.inv((second + np.swapaxes(second, 1, 2)) / 2)
    row = np.einsum("zijk,zij->zk", third, h)
    dumbbell = np.einsum("zk,zkl,zl->z", row, h, row)
    sunset = np.einsum("zijk,zlmn,zil,zjm,zkn->z", third, third, h, h, h, optimize=True)
    return temperature / 2 * (dumbbell / 8 + sunset / 12 - np.einsum("zijkl,zij,zkl->z", fourth, h, h) / 8)
