"""Is the shift of train and test minimum another distribution, or sampling? Shuffles and subsamples, beside formulas.

The paper trains 25 times on reshuffled data, and on subsamples. Here both are beside what one training predicts.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from ..companions.shift_curvature import expected_shift, minimum, shift, shift_test
from ..drawing import new_figure
from ..estimates import TruncationWarning, mean_and_stderr
from ..landscapes import Landscape
from ._experiment import Experiment, Finding, Outcome, Setting
from ._verdicts import agreement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Data = tuple[np.ndarray, np.ndarray]

COMPONENTS, CLASSES, PENALTY = 7, 10, 0.01
TRAIN, TEST = 5 / 6, 1 / 6  # of the images: the paper's 50000 and 10000
SHARES = (1, 2, 4)  # of which one part is taken
DIFFERENT = 4.0  # z from which a shift is more than sampling
_REMAINDER = 0.1  # of a prediction of first order in 1/N

PAPER = {
    "network": "VGG9 on CIFAR10",
    "B": 3000,
    "learning rate": "0.1, scaled by 0.1 twice (text: at 0.5, 0.75 of the epochs; details: at 0.5, 0.75 and 0.9)",
    "epochs": "2000",
    "weight decay": 5e-4,
    "momentum": "0 (stage 1 of the temperature experiment: 0.9 in the table, none in the text)",
    "shuffles": 25,
    "sizes": [10000, 50000],
}
OURS = {
    "network": "softmax regression on seven principal components of the images, 80 parameters, at the exact minimum",
    "penalty": PENALTY,
    "shuffles": 25,
    "sizes": "all, a half and a quarter of the training images, with all other images as test data",
}


@dataclass(frozen=True)
class Split:
    """One split: ½sᵀCs, what sampling makes of it on average, its spread, and the test loss at the train minimum."""

    observed: float
    expected: float
    spread: float
    test_loss: float


@dataclass(frozen=True)
class Sample:
    """One training set: losses at its minimum, on itself and on all other images, and the gap that is predicted."""

    train_loss: float
    test_loss: float
    gap: float


def loss(params: Any, example: Any) -> jax.Array:
    """Return the cross-entropy of softmax regression."""
    logits = example[0] @ params["weights"] + params["bias"]
    return jax.nn.logsumexp(logits) - logits[example[1]]


def run(setting: Setting) -> Outcome:
    """Split the images at random and in their own order, and take parts of them."""
    images, labels = setting.images
    features, labels = components(np.asarray(images, dtype=float)), np.asarray(labels)
    shuffles, draws = (6, 4) if setting.quick else (25, 16)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(setting.key)))
    count = len(labels) // (6 * SHARES[-1]) * 6 * SHARES[-1]
    train, test = round(count * TRAIN), round(count * TEST)
    key = jax.random.fold_in(setting.key, 1)
    total = 1 + shuffles + draws * len(SHARES)
    with jax.enable_x64(True), warnings.catch_warnings(), setting.progress.task(total, "splits") as task:
        warnings.simplefilter("ignore", TruncationWarning)  # judged below

        def rows(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return features[which], labels[which]

        def split(order: np.ndarray) -> Split:
            task.advance()
            return _split(rows(order[:train]), rows(order[-test:]), key)

        def sample(parts: int) -> Sample:
            task.advance()
            order = rng.permutation(len(labels))
            return _sample(rows(np.repeat(order[: train // parts], parts)), rows(order[train // parts :]), parts, key)

        own = split(np.arange(len(labels)))
        random = [split(rng.permutation(len(labels))) for _ in range(shuffles)]
        sizes = {train // parts: [sample(parts) for _ in range(draws)] for parts in SHARES}
    findings = [*_of_shuffles(own, random), *_of_sizes(sizes)]
    data = {
        "the paper's parameters": PAPER,
        "ours": OURS | {"training images": train, "test images": test},
        "file order": vars(own),
        "shuffles": [vars(one) for one in random],
        "sizes": {str(size): [vars(one) for one in splits] for size, splits in sizes.items()},
    }
    return Outcome(findings, data, _figure(own, random, sizes))


def components(images: np.ndarray) -> np.ndarray:
    """Return the leading principal components of images, each of variance 1, shape (M, components)."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=0)
    axes = np.linalg.svd(flat, full_matrices=False)[2][:COMPONENTS]
    found = flat @ axes.T
    return found / found.std(axis=0)


def start() -> dict[str, jax.Array]:
    """Return parameters that are all 0."""
    return {"weights": jnp.zeros((COMPONENTS, CLASSES)), "bias": jnp.zeros(CLASSES)}


def _split(train: Data, test: Data, key: jax.Array) -> Split:
    """Return the shift of one split beside what sampling makes of it."""
    landscape = Landscape(loss, train, test, reading="conditional")
    found = shift(landscape, start(), penalty=PENALTY, key=key)
    tested = shift_test(landscape, start(), penalty=PENALTY, found=found, key=key)
    test_loss = float(landscape.test_loss(found.train.params))
    return Split(found.shift_curvature, tested.expected.value, tested.spread, test_loss)


def _sample(train: Data, rest: Data, copies: int, key: jax.Array) -> Sample:
    """Return losses at the minimum of one training set, whose examples come in equal copies.

    Copies change no mean, and one compiled program serves training sets of all sizes. The gap is tr[D/C]/N.
    """
    landscape = Landscape(loss, train)
    params = minimum(landscape, start(), penalty=PENALTY, key=key).params
    gap = 2 * copies * expected_shift(landscape, params, num_test=np.inf, penalty=PENALTY).value
    logits = rest[0] @ np.asarray(params["weights"]) + np.asarray(params["bias"])
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(logits)), rest[1]]
    return Sample(float(landscape.mean_loss(params)), float(losses.mean()), gap)


def _column(splits: Sequence[Split | Sample], name: str) -> np.ndarray:
    return np.array([getattr(one, name) for one in splits])


def _of_shuffles(own: Split, random: list[Split]) -> list[Finding]:
    """Judge the formula for sampling by random splits, and the paper's claim by the split in the file's order."""
    observed, expected, spread = (_column(random, name) for name in ("observed", "expected", "spread"))
    _, stderr = mean_and_stderr(observed - expected)
    found = [
        agreement(
            "random splits: the mean shift-curvature is what sampling makes, ½(1/N + 1/N_test) tr[D/C]",
            float(expected.mean()),
            float(observed.mean()),
            stderr=float(stderr),
            within=_REMAINDER * float(expected.mean()),
        ),
        agreement(
            "random splits: so is its standard deviation",
            float(spread.mean()),
            float(observed.std(ddof=1)),
            stderr=float(spread.mean()) / (2 * (len(random) - 1)) ** 0.5,
        ),
    ]
    z = (own.observed - own.expected) / own.spread
    numbers = {"z": z, "allowed": DIFFERENT, "times the expected": own.observed / own.expected}
    claim = "the split in the file's order is from one distribution, as the paper finds for CIFAR10"
    found.append(Finding(claim, bool(z <= DIFFERENT), numbers))
    losses = _column(random, "test_loss")
    off = (own.test_loss - losses.mean()) / losses.std(ddof=1)
    numbers = {"file order": own.test_loss, "shuffled": float(losses.mean()), "standard deviations apart": float(off)}
    return [*found, Finding("shuffling changes the test loss little, as in the paper", bool(abs(off) <= 3), numbers)]


def _of_sizes(sizes: dict[int, list[Sample]]) -> list[Finding]:
    """Judge how losses depend on the size of the data, and the gap at each size."""
    found = []
    ordered = sorted(sizes)
    for name, sign, claim in (
        ("test_loss", -1, "the test loss rises as the data become fewer"),
        ("train_loss", 1, "the train loss falls as the data become fewer"),
    ):
        means = [mean_and_stderr(_column(sizes[size], name)) for size in ordered]
        (first, first_error), (last, last_error) = means[0], means[-1]
        score = sign * float((last - first) / np.hypot(first_error, last_error))
        numbers = {f"{size} images": float(mean[0]) for size, mean in zip(ordered, means, strict=True)}
        numbers["largest against smallest, in standard errors"] = score
        found.append(Finding(claim, True if score > 3 else False if score < -3 else None, numbers))
    for size in reversed(ordered):
        splits = sizes[size]
        gap, predicted = _column(splits, "test_loss") - _column(splits, "train_loss"), _column(splits, "gap")
        _, stderr = mean_and_stderr(gap - predicted)
        claim = f"{size} images: the gap is tr[D/C]/N, to first order in 1/N"
        within = _REMAINDER * float(predicted.mean())
        pair = float(predicted.mean()), float(gap.mean())
        found.append(agreement(claim, *pair, stderr=float(stderr), within=within))
    return found


def _figure(own: Split, random: list[Split], sizes: dict[int, list[Sample]]) -> "Figure":
    figure, ((left, right),) = new_figure(2)
    observed = _column(random, "observed")
    mean, spread = _column(random, "expected").mean(), _column(random, "spread").mean()
    left.plot(observed, np.arange(1, len(observed) + 1), "o", ms=4, color="#0072B2", label="random splits")
    left.plot(own.observed, 0, "s", color="#D55E00", label="the file's order")
    left.axvline(mean, color="#777777", label="expected by sampling")
    for reach, alpha in ((1, 0.2), (2, 0.1)):
        left.axvspan(mean - reach * spread, mean + reach * spread, color="#777777", alpha=alpha, lw=0)
    left.set(xlabel="shift-curvature ½sᵀCs", ylabel="split", title="Another distribution, or sampling?")
    left.legend(fontsize=8, loc="upper right")
    ordered = sorted(sizes)
    for name, colour in (("train_loss", "#0072B2"), ("test_loss", "#E69F00")):
        means, errors = np.array([mean_and_stderr(_column(sizes[size], name)) for size in ordered]).T
        label = f"{name.replace('_', ' ')}, 2 s.e."
        right.errorbar(ordered, means, 2 * errors, fmt="o-", ms=4, color=colour, capsize=3, label=label)
    predicted = [(_column(sizes[size], "train_loss") + _column(sizes[size], "gap")).mean() for size in ordered]
    right.plot(ordered, predicted, "--", color="#E69F00", label="train loss + tr[D/C]/N")
    right.set(xlabel="training images", ylabel="loss at the train minimum", xscale="log", title="Fewer data")
    right.set_xticks(ordered, [str(size) for size in ordered], minor=False)
    right.minorticks_off()
    right.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "shift-sampling",
    "whether the shift of train and test minimum is another distribution or sampling",
    "Bradley et al., section G.1, figure 5, right",
    run,
)
