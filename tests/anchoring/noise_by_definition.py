"""D_st = E_x ∂²s(θ_t)/∂ε_s∂ε_t by its definition: runs in numbers a₀ + a₁ε_s + a₂ε_t + a₃ε_sε_t with ε_s² = ε_t² = 0.

Nothing here is shared with the package, neither with its oracles nor with its derivatives.
"""

from fractions import Fraction

import numpy as np

ZERO, ONE = (Fraction(0),) * 4, (Fraction(1), Fraction(0), Fraction(0), Fraction(0))


def times(x, y):
    """The product of two numbers."""
    return (
        x[0] * y[0],
        x[0] * y[1] + x[1] * y[0],
        x[0] * y[2] + x[2] * y[0],
        x[0] * y[3] + x[1] * y[2] + x[2] * y[1] + x[3] * y[0],
    )


def plus(x, y, factor=1):
    """x + factor·y."""
    return tuple(a + factor * b for a, b in zip(x, y, strict=True))


def at(polynomial, point):
    """A polynomial of numbers."""
    total = ZERO
    for powers, value in polynomial.items():
        term = (Fraction(value), Fraction(0), Fraction(0), Fraction(0))
        for coordinate, power in zip(point, powers, strict=True):
            for _ in range(power):
                term = times(term, coordinate)
        total = plus(total, term)
    return total


def slope(polynomial, c):
    """A partial derivative."""
    lower = {p: value * p[c] for p, value in polynomial.items() if p[c]}
    return {(*p[:c], p[c] - 1, *p[c + 1 :]): value for p, value in lower.items()}


def deviation(loss, mean):
    """A loss less the mean loss."""
    return {powers: loss.get(powers, 0) - mean.get(powers, 0) for powers in {*loss, *mean}}


def path(mean, field, theta, rates, s, t):
    """The iterates where the losses of steps s and t are l + ε_s f and l + ε_t f; where s = t, l + (ε_s + ε_t) f."""
    point = [plus(ZERO, ONE, coordinate) for coordinate in theta]
    iterates = [point]
    for step, rate in enumerate(rates):
        size = (Fraction(0), Fraction(step == s), Fraction(step == t), Fraction(0))
        pushes = [plus(at(slope(mean, c), point), times(size, at(slope(field, c), point))) for c in range(len(point))]
        point = [plus(old, push, -rate) for old, push in zip(point, pushes, strict=True)]
        iterates.append(point)
    return iterates


def functionals(landscape, measured, theta, rates):
    """The noiseless loss, D_st of it and I_s = E_x ∂(l_x − l)(θ_t)/∂ε_s, at steps 0 to T: arrays of fractions."""
    steps = len(rates)
    noiseless = [at(measured, point)[0] for point in path(landscape.mean, {}, theta, rates, None, None)]
    D = np.full((steps + 1, steps, steps), Fraction(0))
    influence = np.full((steps + 1, steps), Fraction(0))
    for loss, chance in zip(landscape.losses, landscape.weights, strict=True):
        field = deviation(loss, landscape.mean)
        for s in range(steps):
            for t in range(s, steps):
                iterates = path(landscape.mean, field, theta, rates, s, t)
                D[:, s, t] += [chance * at(measured, point)[3] for point in iterates]
                D[:, t, s] = D[:, s, t]
            influence[:, s] += [chance * at(field, point)[1] for point in iterates]  # those of s and t = T − 1
    return np.array(noiseless), D, influence


def tied(ties, steps):
    """The matrix that is 1 where steps are tied."""
    labels = ties.labels(steps)
    return ((labels[:, None] == labels) & (labels >= 0)).astype(int)


def second_order(landscape, theta, rates, weights, N, test=None):
    """ε⁰ and ε² of every quantity at steps 0 to T, contracted with W; with test losses in the conditional reading."""
    steps = len(rates)
    W = sum(
        (weight * tied(ties, steps) for ties, weight in weights.items()), start=np.full((steps, steps), Fraction(0))
    )
    train, D, influence = functionals(landscape, landscape.mean, theta, rates)
    train_noise = (W * D).sum(axis=(1, 2)) / 2
    if test is None:
        gap = -influence.sum(axis=1) / N
        return {"test_loss": (train, train_noise), "train_loss": (train, train_noise - gap), "gap": (0 * train, gap)}
    tested, D, _ = functionals(landscape, test.mean, theta, rates)
    test_noise = (W * D).sum(axis=(1, 2)) / 2
    return {
        "test_loss": (tested, test_noise),
        "train_loss": (train, train_noise),
        "gap": (tested - train, test_noise - train_noise),
    }
