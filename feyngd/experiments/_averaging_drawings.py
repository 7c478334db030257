"""Training and test sets that overlap against split ones, for four optimizers: figures 9 to 12."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..companions.data_averaging import SweepGroup
from ._averaging import SOURCE, findings_of, parameters, swept
from ._experiment import Experiment, Finding, Outcome, Setting

B = 8
TEMPERATURES = (0.003, 0.006, 0.016, 0.031, 0.063)
QUICK_TEMPERATURES = (0.006, 0.025)


def run(setting: Setting) -> Outcome:
    """Train on many training sets, and test the same runs on the rest and on an independent draw of as many."""
    datasets, epochs = (6, 8) if setting.quick else (16, 40)
    temperatures = QUICK_TEMPERATURES if setting.quick else TEMPERATURES
    options: dict[str, Any] = {"B": B, "drawings": ["split", "overlap"], "datasets": datasets, "epochs": epochs}
    sweeps = swept(setting, temperatures, long_run=False, **options)
    groups = [group for sweep in sweeps for group in sweep.groups]
    conversions = [verdict for sweep in sweeps for verdict in sweep.verdicts if "1 − N/M" in verdict.claim]
    findings = [Finding(verdict.claim, verdict.holds, verdict.numbers) for verdict in conversions]
    by_name = {(group.optimizer, group.drawing): group for group in groups}
    optimizers = list(dict.fromkeys(group.optimizer for group in groups))
    findings += [_spread(name, by_name[name, "split"], by_name[name, "overlap"]) for name in optimizers]
    overlapping = [group for group in groups if group.drawing == "overlap"]
    findings += findings_of(overlapping, lambda verdict: "law (1)" in verdict.claim)
    about = parameters(
        setting,
        drawing="split, and independent draws of training and test set",
        temperatures=f"{temperatures[0]:g} to {temperatures[-1]:g}, a tenth of that with momentum",
        **{"batch size": B, "epochs": epochs, "training sets": datasets},
    )
    data = {**about, "groups": [group.to_dict() for group in groups]}
    return Outcome(findings, data, replace(sweeps[0], groups=tuple(groups)).plot())


def _spread(name: str, split: SweepGroup, overlap: SweepGroup) -> Finding:
    """Judge whether gaps vary more from one training set to another where test sets overlap, in units of the gap.

    The paper finds that variation very high, as the number of test examples that were trained on varies.
    """
    logs, counts = [], []
    for one, other in zip(split.points, overlap.points, strict=True):
        for point, sign in ((one, -1), (other, 1)):
            gaps = point.samples["mean_gap"]
            logs.append(2 * sign * np.log(gaps.std(ddof=1) / abs(gaps.mean())))
            counts.append(len(gaps))
    # The logarithm of a normal variable's sample variance has the variance 2/(n − 1).
    value = float(np.sum(logs)) / len(split.points)
    stderr = float(np.sqrt(np.sum(2 / (np.array(counts) - 1)))) / len(split.points)
    holds = True if value > 3 * stderr else False if value < -3 * stderr else None
    numbers = {
        "ratio of relative spreads": float(np.exp(value / 2)),
        "standard errors of its logarithm": value / stderr,
    }
    return Finding(f"{name}: overlapping gaps vary more between training sets than split ones", holds, numbers)


EXPERIMENT = Experiment(
    "averaging-drawings",
    "training and test sets that are drawn independently and overlap, against split ones",
    f"{SOURCE}, section 3.1 and appendix E, figures 9 to 12",
    run,
)
