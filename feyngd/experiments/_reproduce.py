"""Running experiments and keeping their results: a figure and a JSON file each."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._files import check_writable, replace_file, write_json
from .._version import __version__
from ..drawing import drawn, require_matplotlib
from ..errors import ArgumentError
from ..landscapes import digits
from ..progress import Progress, check_progress
from . import (
    _averaging_drawings,
    _averaging_gap_law,
    _averaging_loss_spread,
    _averaging_spikes,
    _basic_predictions,
    _batch_size,
    _cubic_valley,
    _curved_space,
    _emulated_batches,
    _escape_logistic,
    _escape_mlp,
    _escape_sgld,
    _escape_styblinski_tang,
    _gap_growth,
    _gauss_fit,
    _limiting_displacement,
    _limiting_isotropy,
    _limiting_oscillations,
    _limiting_phase,
    _limiting_potentials,
    _limiting_sweep,
    _limiting_window,
    _linear_screw,
    _mean_estimation,
    _multi_epoch,
    _noise_against_hessian,
    _noise_shape,
    _shift_against_temperature,
    _shift_basins,
    _shift_line,
    _shift_sampling,
    _shift_temperature,
    _stic_selection,
)
from ._experiment import Experiment, Outcome, Setting

_MODULES = (
    _basic_predictions,
    _multi_epoch,
    _batch_size,
    _emulated_batches,
    _gap_growth,
    _gauss_fit,
    _linear_screw,
    _cubic_valley,
    _mean_estimation,
    _stic_selection,
    _curved_space,
    _averaging_gap_law,
    _averaging_loss_spread,
    _averaging_spikes,
    _averaging_drawings,
    _shift_line,
    _shift_against_temperature,
    _shift_basins,
    _shift_temperature,
    _shift_sampling,
    _limiting_displacement,
    _limiting_phase,
    _limiting_isotropy,
    _limiting_oscillations,
    _limiting_sweep,
    _limiting_window,
    _limiting_potentials,
    _noise_shape,
    _noise_against_hessian,
    _escape_styblinski_tang,
    _escape_sgld,
    _escape_logistic,
    _escape_mlp,
)
EXPERIMENTS: dict[str, Experiment] = {module.EXPERIMENT.name: module.EXPERIMENT for module in _MODULES}
_IMAGES = 500


def reproduce(
    names: Sequence[str] | str,
    out: str | os.PathLike[str],
    *,
    quick: bool = False,
    images: tuple[Any, Any] | None = None,
    report: Callable[[str], None] = lambda text: None,
    progress: Progress | bool | None = None,
    seed: int = 0,
) -> dict[str, Outcome]:
    """Run experiments of the papers and write `NAME.json` and `NAME.png` for each to a folder.

    The JSON file has the verdict, the predicted and simulated numbers behind it, and what the figure shows. It is
    written, in one move, when its experiment is finished, so that an interruption loses at most the one in flight.

    Args:
        names: names of experiments, or one, or "all"; see `EXPERIMENTS`.
        out: the folder to write to; made if it is not there.
        quick: fewer runs and smaller problems, to see that all works.
        images: images and labels for experiments on networks, such as `feyngd.landscapes.load_cifar10` returns;
            the first 500 of scikit-learn's digits by default. Every simulated run ends with the loss on all images, so
            that time grows with their number.
        report: called with a text for every experiment that is finished.
        progress: shows progress, such as `fd.Tqdm()`, or `True` for that; silent by default.
        seed: of everything random, from 0 to 2³² − 1.

    Returns:
        The outcomes, by name.

    Raises:
        ArgumentError: a name is unknown, the images or the seed are invalid, or `out` cannot be written to; this comes
            before anything is computed.
        FeynGDError: matplotlib is missing, likewise.
    """
    chosen = _chosen([names] if isinstance(names, str) else names)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ArgumentError(f"The seed is an integer from 0 to 4294967295, got {seed!r}.")
    bars = check_progress(progress)
    shown = digits(_IMAGES) if images is None else _checked(images)
    folder = check_writable(out)
    require_matplotlib()
    outcomes = {}
    for name in chosen:
        one = EXPERIMENTS[name]
        setting = Setting(jax.random.key(seed), shown, quick, bars)
        outcome = outcomes[name] = one.run(setting)
        about = {"experiment": name, "title": one.title, "source": one.source, "quick": quick, "seed": seed}
        replace_file(folder / f"{name}.png", drawn(outcome.figure, "png"))
        write_json(folder / f"{name}.json", {**about, "version": __version__, **outcome.to_dict()})
        report(_summary(one, outcome, folder))
    return outcomes


def _chosen(names: Sequence[str]) -> list[str]:
    """Return the names of experiments, each once, with "all" written out."""
    if unknown := [name for name in names if name not in EXPERIMENTS and name != "all"]:
        raise ArgumentError(
            f"Unknown experiment {unknown[0]!r}; there are {', '.join(EXPERIMENTS)}, and all of them: all."
        )
    return list(EXPERIMENTS) if "all" in names else list(dict.fromkeys(names))


def _checked(images: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels as arrays, or raise unless they are of the shapes that a `Setting` has."""
    pixels, labels = (np.asarray(one) for one in images)
    if pixels.ndim not in (3, 4) or labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise ArgumentError(
            "Images are an array (M, height, width) or (M, height, width, colours) with M integer labels; got shapes "
            f"{pixels.shape} and {labels.shape}, labels of dtype {labels.dtype}."
        )
    if not len(labels) or labels.min() < 0 or labels.max() > 9:
        raise ArgumentError(
            "There is at least one image, and labels are from 0 to 9: the experiments have ten classes."
        )
    return pixels, labels


def _summary(experiment: Experiment, outcome: Outcome, folder: Path) -> str:
    lines = [f"{experiment.name}: {experiment.title} ({experiment.source})"]
    lines += [f"  {finding}" for finding in outcome.findings]
    return "\n".join([*lines, f"  written: {folder / experiment.name}.png and .json"])
