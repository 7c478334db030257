"""The least number of memories behind a linear optimizer's answers, and the recurrence that they make.

What steps from t on make of the gradients before t is the block c[t:, :t] of the matrix of answers c[u, s]; its rank is
the number of memories that are needed at t. A basis O_t of its columns spans what memories can do later, and the memory
at t is how the past stands in it. The basis for t + 1 comes from O_t without its first row, and the answer to the
gradient of step t, so that no block is ever decomposed as a whole.

References:
    Dewilde and van der Veen, "Time-Varying Systems and Computations", chapter 3.
"""

import numpy as np

from ..errors import ArgumentError
from ._recurrence import VectorRecurrence

MOST_MEMORIES = 16
_RANK = 1e-10  # of the largest answer: what is below is rounding
_REBUILT = 1e-9  # of the largest answer: by how much answers that are rebuilt from the memories may differ


def realized(responses: np.ndarray) -> VectorRecurrence:
    """Return the recurrence with the least number of memories whose updates these are.

    Args:
        responses: c[u, s], the update of step u that a unit gradient of step s gives, shape (T, T).

    Raises:
        ArgumentError: there are more than 16 memories.
    """
    steps, scale = len(responses), np.abs(responses).max()
    basis, size = np.zeros((steps, 0)), np.zeros((0, 0))  # O_t, and S_t with S_t S_tᵀ = Σ u uᵀ over unit gradients
    gains, decays, readouts = [], [], []
    for step in range(steps):
        readouts.append(basis[0])
        columns = np.column_stack([basis[1:], responses[step + 1 :, step]])
        orthonormal, triangle = np.linalg.qr(columns)
        reached = np.zeros((columns.shape[1], size.shape[1] + 1))
        reached[:-1, :-1], reached[-1, -1] = size, 1.0
        left, values, _ = np.linalg.svd(triangle @ reached, full_matrices=False)
        rank = int(np.sum(values > _RANK * scale))
        if rank > MOST_MEMORIES:
            raise ArgumentError(
                f"The transformation is linear in the gradients, but keeps more than {MOST_MEMORIES} memories of them, "
                "such as a list of the last ones: use momenta, whose memories are few."
            )
        new = orthonormal @ left[:, :rank]
        decays.append(new.T @ basis[1:])
        gains.append(new.T @ responses[step + 1 :, step])
        basis, size = new, np.diag(values[:rank])
    width = max(map(len, gains), default=0)

    def padded(array: np.ndarray) -> np.ndarray:
        return np.pad(array, [(0, width - length) for length in array.shape])

    found = VectorRecurrence(
        tuple(np.diag(responses).tolist()),
        tuple(tuple(padded(one).tolist()) for one in gains),
        tuple(tuple(map(tuple, padded(one).tolist())) for one in decays),
        tuple(tuple(padded(one).tolist()) for one in readouts),
    )
    rebuilt = _updates(found)
    if not np.all(np.abs(rebuilt - responses) <= _REBUILT * scale * max(steps, 10)):
        raise ArgumentError(
            "The transformation is linear in the gradients, but what it remembers cannot be told from rounding: use "
            "fewer steps, or momenta whose decays differ more."
        )
    return found


def _updates(recurrence: VectorRecurrence) -> np.ndarray:
    """Return the updates that single gradients give."""
    steps = recurrence.steps
    found, memory = np.diag(np.array(recurrence.direct)), np.zeros((recurrence.memories, steps))
    for step in range(steps):
        found[step] += np.array(recurrence.readout[step]) @ memory
        memory = np.array(recurrence.decay[step]) @ memory
        memory[:, step] += np.array(recurrence.gain[step])
    return found
