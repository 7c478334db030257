"""Tables of docs/experiments.md, from the files that `feyngd reproduce` writes.

`feyngd reproduce NAME ... --out FOLDER` runs experiments; `python benchmarks/experiments.py NAME ... --out FOLDER`
writes what their JSON files say between the markers of the page. Without names it takes all experiments.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from writing import table, write

VERDICTS = {True: "holds", False: "does not hold", None: "undecided"}


def claims(record: dict[str, Any]) -> str:
    """Return the claims with their verdicts and the numbers behind them."""
    rows = []
    for finding in record["findings"]:
        numbers = ", ".join(
            f"{name} {'not finite' if value is None else f'{value:.6g}'}" for name, value in finding["numbers"].items()
        )
        rows.append([finding["claim"], VERDICTS[finding["holds"]], numbers])
    return table(["claim", "verdict", "numbers"], rows)


def basic_predictions(data: dict[str, Any]) -> str:
    """Return how far every order is from the simulation near the edge of the valid range."""
    rows = []
    for i, start in enumerate(data["starts"], 1):
        prediction, simulation = start["prediction"], start["simulation"]
        near = last_inside(prediction["learning_rates"], prediction["valid_up_to"])
        mean, by_order = simulation["mean"][near], [orders[near] for orders in prediction["mean_by_order"]]
        row = [i, prediction["valid_up_to"], prediction["learning_rates"][near], f"{by_order[0]:.5f}"]
        row += [f"{mean:.5f} ± {simulation['stderr'][near]:.5f}", *(f"{ours - mean:+.5f}" for ours in by_order[1:])]
        rows.append(row)
    header = ["start", "valid up to η", "η", "loss at the start", "simulation"]
    return table([*header, "order 1 off by", "order 2 off by", "order 3 off by"], rows)


def multi_epoch(data: dict[str, Any]) -> str:
    """Return differences between epochs, and gaps, near the edge of the valid range."""
    rows = []
    for one in data["several epochs less one"]:
        what, prediction = f"test loss, {one['epochs']} epochs less 1", one["prediction"]
        rows.append([what, *near_edge(prediction, one["valid_up_to"], one["mean"], one["stderr"])])
    for epochs, one in enumerate(data["gaps"], 1):
        prediction, simulation = one["prediction"], one["simulation"]
        numbers = near_edge(prediction, prediction["valid_up_to"], simulation["mean"], simulation["stderr"])
        rows.append([f"gap, {epochs} epoch{'s' * (epochs > 1)}", *numbers])
    return table(["", "valid up to η", "η", "predicted", "simulated"], rows)


def near_edge(prediction: dict[str, Any], edge: float, mean: list[float], stderr: list[float]) -> list[Any]:
    """Return the edge, the rate next to it, the prediction there and the simulation."""
    near = last_inside(prediction["learning_rates"], edge)
    simulated = f"{mean[near]:.5f} ± {stderr[near]:.5f}"
    return [edge, prediction["learning_rates"][near], f"{prediction['mean'][near]:.5f}", simulated]


def last_inside(rates: list[float], edge: float) -> int:
    """Return the index of the largest rate below an edge."""
    return int(np.searchsorted(rates, edge)) - 1


def batch_size(data: dict[str, Any]) -> str:
    """Return SGD less gradient descent and less GDC at every rate."""
    rows = []
    for i, start in enumerate(data["starts"], 1):
        for k, rate in enumerate(start["prediction"]["learning_rates"]):
            from_gd, from_gdc = start["SGD less gradient descent"], start["SGD less GDC"]
            ratio, low, high = start["distances' ratio and its 95 % interval"][k]
            rows.append(
                [i, start["valid_up_to"], rate, f"{start['prediction']['mean'][k]:.3g}"]
                + [f"{one['mean'][k]:.3g} ± {one['stderr'][k]:.1g}" for one in (from_gd, from_gdc)]
                + [f"{ratio:.3f} [{low:.3f}, {high:.3f}]"]
            )
    header = ["start", "valid up to η", "η", "SGD − gradient descent, predicted", "simulated", "SGD − GDC, simulated"]
    return table([*header, "ratio of the two, 95 %"], rows)


def emulated_batches(data: dict[str, Any]) -> str:
    """Return SGD less gradient descent and less GDC for every model, start and rate, over η²."""
    rows = []
    for start in data["starts"]:
        for k, rate in enumerate(start["learning rates"]):
            both = (start["SGD less gradient descent"], start["SGD less GDC"])
            numbers = [f"{one['mean'][k] / rate**2:.3g} ± {one['stderr'][k] / rate**2:.1g}" for one in both]
            rows.append([start["model"], start["start"], rate, *numbers])
    return table(["model", "start", "η", "(SGD − gradient descent)/η²", "(SGD − GDC)/η²"], rows)


def gauss_fit(data: dict[str, Any]) -> str:
    """Return the coefficients of η³ by the series and from finite learning rates."""
    rows = []
    for name, one in data.items():
        if name.startswith("T = "):
            both = [[one[process][way] for way in ("series", "extrapolated")] for process in ("SGD", "SDE")]
            both.append([sgd - sde for sgd, sde in zip(*both, strict=True)])
            rows.append([name.removeprefix("T = "), *(f"{number:.6f}" for pair in both for number in pair)])
    header = [f"{process}, {way}" for process in ("SGD", "SDE", "SGD − SDE") for way in ("series", "extrapolated")]
    return table(["T", *header], rows)


def linear_screw(data: dict[str, Any]) -> str:
    """Return the drift along the valley per step, over η²."""
    rows = []
    for name, one in data.items():
        if name.startswith("η = "):
            steps, z, rate = one["steps"][-1], one["z simulated"][-1], float(name.removeprefix("η = "))
            scale = 1 / (steps * rate**2)
            rows.append(
                [f"{rate:g}", steps, f"{z:.2f}", f"{z * scale:.5f} ± {one['stderr'][-1] * scale:.5f}"]
                + [f"{end * scale:.5f}" for end in ends(one)]
            )
    header = ["η", "T", "z climbed, simulated", "drift per step / η²", "engine, 2 noises", "engine, 4 noises"]
    return table([*header, "leading order"], rows)


def cubic_valley(data: dict[str, Any]) -> str:
    """Return the drift along every valley per step."""
    rows = []
    for name, one in data.items():
        valley, _, rate = name.rpartition(", η = ")
        steps, z = one["steps"][-1], one["z simulated"][-1]
        simulated = f"{z / steps:.4e} ± {one['stderr'][-1] / steps:.1e}"
        rows.append([valley, rate, simulated, *(f"{end / steps:.4e}" for end in ends(one))])
    header = ["valley", "η", "drift per step, simulated", "engine, 2 noises", "engine, 4 noises", "leading order"]
    return table(header, rows)


def ends(one: dict[str, Any]) -> list[float]:
    """Return predictions of z at the end: by two and four noises, and to leading order."""
    return [one["z predicted"][-1], one["z predicted to the next order, at the last"], one["z to leading order"][-1]]


def sharp_and_flat(data: dict[str, Any]) -> str:
    """Return excess test loss and gap at every curvature."""
    kinds = [one for name, one in data.items() if name != "curvatures"]
    rows = []
    for i, curvature in enumerate(data["curvatures"]):
        row = [curvature]
        for one in kinds:
            row += [f"{one['predicted'][i]:.5f}", f"{one['simulated'][i]:.5f} ± {one['stderr'][i]:.5f}"]
        rows.append(row)
    names = [name.partition(",")[0] for name in data if name != "curvatures"]
    return table(["curvature", *(f"{name}: {way}" for name in names for way in ("predicted", "simulated"))], rows)


def stic_selection(data: dict[str, Any]) -> str:
    """Return the excess test loss with the penalty that each criterion chooses."""
    parts = []
    for name, tasks in data.items():
        columns = list(tasks)
        rows = []
        for i, size in enumerate(tasks[columns[0]]):
            rows.append([size, *(f"{tasks[one][i][0]:.3g} ± {tasks[one][i][1]:.1g}" for one in columns[1:])])
        parts.append(f"{name}:\n\n{table(columns, rows)}")
    return "\n\n".join(parts)


def curved_space(data: dict[str, Any]) -> str:
    """Return what curvature adds to the gap, exactly and in runs."""
    rows = []
    for name, one in data.items():
        power, runs = one["first power of η with K"], one["simulated"]
        simulated = f"{runs['limit']:.3f} ± {runs['stderr']:.3f}"
        rows.append([name, f"η^{power}", f"{one['exact coefficients of K'][power]:.4f}", simulated, one["conjecture"]])
    return table(["", "first power with K", "K's coefficient in the gap", "simulated, η → 0", "Conjecture 1"], rows)


def averaging(data: dict[str, Any]) -> str:
    """Return levels at every temperature, for every optimizer and drawing."""
    rows = []
    for group in data["groups"]:
        for point in group["points"]:
            names = ("train", "test", "gap", "cross")
            levels = [f"{point[name]['value']:.4f} ± {point[name]['stderr']:.4f}" for name in names]
            rows.append([group["optimizer"], group["drawing"], f"{point['temperature']:.3g}", *levels])
    return table(["optimizer", "drawing", "T", "train loss", "test loss", "gap", "gap without test data"], rows)


def loss_spread(data: dict[str, Any]) -> str:
    """Return slopes of the spread of losses against their mean."""
    rows = []
    for drawing in ("split", "overlap"):
        slope, intercept = (data[drawing][name] for name in ("slope", "intercept"))
        lines = [f"{one['value']:.3f} ± {one['stderr']:.3f}" for one in (slope, intercept)]
        rows.append([drawing, len(data[drawing]["losses"]), *lines])
    return table(["drawing", "points", "slope", "intercept"], rows)


def spikes(data: dict[str, Any]) -> str:
    """Return how many runs spike, for every batch size and learning rate."""
    cases = {name: one for name, one in data.items() if name.startswith("B = ")}
    rows = [
        [name, f"{sum(one['spiking'])} of {len(one['spiking'])}", f"{one['median train loss at the end']:.3g}"]
        for name, one in cases.items()
    ]
    return table(["", "runs with spikes", "median train loss at the end"], rows)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "basic-predictions": basic_predictions,
    "multi-epoch": multi_epoch,
    "batch-size": batch_size,
    "emulated-batches": emulated_batches,
    "gauss-fit": gauss_fit,
    "linear-screw": linear_screw,
    "cubic-valley": cubic_valley,
    "sharp-and-flat": sharp_and_flat,
    "stic-selection": stic_selection,
    "curved-space": curved_space,
    "averaging-gap-law": averaging,
    "averaging-loss-spread": loss_spread,
    "averaging-spikes": spikes,
    "averaging-drawings": averaging,
}


def main() -> None:
    """Write the tables of the experiments that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(TABLES))
    parser.add_argument("--out", type=Path, default=Path("reproduce"), metavar="FOLDER")
    options = parser.parse_args()
    for name in options.names:
        record = json.loads((options.out / f"{name}.json").read_text(encoding="utf-8"))
        if record["quick"]:
            raise SystemExit(f"{options.out / name}.json is from a quick run: run feyngd reproduce without --quick.")
        write(f"experiments.py {name}", f"{TABLES[name](record['data'])}\n\n{claims(record)}")


if __name__ == "__main__":
    main()
