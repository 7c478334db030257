"""Linear regression, whose noise grows with the distance from the minimum, against simulated runs."""

import numpy as np
import pytest

import feyngd as fd
from feyngd.companions import limiting as co

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(30, 3)) * [1.0, 0.7, 0.4]
Y = X @ [1.0, -1.0, 0.5] + RANDOM.normal(size=30)


@pytest.mark.parametrize(
    ("optimizer", "beta", "look"), [(fd.momentum(0.8), 0.8, 0.0), (fd.momentum(0.8, nesterov=True), 0.8, 1.0)]
)
def test_stationary_variance_and_speed_are_those_of_runs(optimizer, beta, look):
    rate, decay, chains, steps, burn = 0.02, 0.05, 400, 3000, 500
    found = co.regression_limit(X, Y, rate, 2, optimizer=optimizer, weight_decay=decay)
    rng = np.random.default_rng(5)
    theta = np.tile(np.linalg.solve(X.T @ X / 30 + decay * np.eye(3), X.T @ Y / 30), (chains, 1))
    middle, buffer = theta[0].copy(), np.zeros((chains, 3))
    positions, moves = np.zeros(chains), np.zeros(chains)
    for step in range(steps):
        rows = rng.integers(30, size=(chains, 2))
        x, y = X[rows], Y[rows]
        gradient = np.einsum("cbd,cb->cd", x, np.einsum("cbd,cd->cb", x, theta) - y) / 2 + decay * theta
        buffer = beta * buffer + gradient
        move = -rate * (look * gradient + (beta if look else 1.0) * buffer)
        theta = theta + move
        if step >= burn:
            positions += np.sum((theta - middle) ** 2, axis=1) / (steps - burn)
            moves += np.sum(move**2, axis=1) / (steps - burn)
    for ours, theirs in ((found.position_variance(), positions), (found.speed(), moves)):
        assert abs(ours.value - theirs.mean()) < 3 * theirs.std(ddof=1) / chains**0.5
