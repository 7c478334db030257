"""Gaps and losses against the temperature for four optimizers, with law (1) fitted: figures 1 to 6."""

from dataclasses import replace
from typing import Any

from ..companions.data_averaging import SweepGroup
from ._averaging import SOURCE, findings_of, parameters, swept
from ._experiment import Experiment, Finding, Outcome, Setting

B = 8
TEMPERATURES = (0.0016, 0.003, 0.006, 0.016, 0.031, 0.063, 0.125)
QUICK_TEMPERATURES = (0.003, 0.006, 0.012, 0.025, 0.05)


def run(setting: Setting) -> Outcome:
    """Train on many splits at every temperature; with momentum 0.9 at a tenth of the temperatures, as steps are ten."""
    datasets, epochs = (6, 8) if setting.quick else (16, 40)
    temperatures = QUICK_TEMPERATURES if setting.quick else TEMPERATURES
    options: dict[str, Any] = {"B": B, "drawings": ["split"], "datasets": datasets, "epochs": epochs}
    sweeps = swept(setting, temperatures, long_run=not setting.quick, **options)
    groups = [group for sweep in sweeps for group in sweep.groups]
    whole = replace(sweeps[0], groups=tuple(groups))
    findings = findings_of(groups, lambda verdict: "law (1)" in verdict.claim or "tr(C" in verdict.claim)
    findings += [_optimum(group) for group in groups]
    about = parameters(
        setting,
        momentum="0.9 or none",
        schedule="none or a quarter cosine",
        temperatures=f"{temperatures[0]:g} to {temperatures[-1]:g}, a tenth of that with momentum",
        **{"batch size": B, "epochs": epochs, "training sets": datasets},
    )
    data = {**about, "groups": [group.to_dict() for group in groups]}
    return Outcome(findings, data, whole.plot())


def _optimum(group: SweepGroup) -> Finding:
    """Judge whether some temperature between the coldest and the hottest has the lowest test loss."""
    claim = f"{group.optimizer}: the test loss is lowest at a temperature in between"
    found = group.optimum
    if found is None:
        return Finding(claim, None, {})
    low, high = found.interval
    is_open = low == 0.0 or high == float("inf")
    numbers = {"from": low, "to": high, "share of resamples": found.inside}
    if found.temperature is not None:
        numbers = {"T": found.temperature, **numbers}
    holds = False if found.inside < 1 - found.confidence else None if is_open or found.temperature is None else True
    return Finding(claim, holds, numbers)


EXPERIMENT = Experiment(
    "averaging-gap-law",
    "gap and losses against the temperature, with the law (a/T + b) exp(−T/c) fitted",
    f"{SOURCE}, section 3.2, figures 1 to 6",
    run,
)
