"""The tables of docs/benchmarks.md that show results of benchmarks/evaluation.py."""

import shlex
from collections.abc import Callable, Mapping
from typing import Any

import acceleration
import numpy as np
from writing import paragraph, replaced, table


def targets(results: Mapping[str, Any]) -> str:
    """The costs of vectors, plans and compilation against their targets."""
    vectors, plans, compilation = (results[name]["found"] for name in ("vectors", "plans", "compilation"))
    names = list(plans)

    def row(what: str, aim: str, value: Callable[[str], float]) -> list[Any]:
        return [what, aim, *(value(name) for name in names)]

    rows = [
        row("Hessian-vector product", "2", lambda n: vectors[n]["HVP"]),
        row("J[u, u, ·]", "3", lambda n: vectors[n]["J"]),
        row("K[u, u, u, ·]", "4.5", lambda n: vectors[n]["K"]),
        row("untied values, order ≤ 3", "4", lambda n: plans[n]["untied 3"]),
        row("untied values, order ≤ 4", "6.5", lambda n: plans[n]["untied 4"]),
        row("all values, order ≤ 3, one pairing", "20; 40 wide; 40 mlp", lambda n: total(plans[n], 3)),
        row("the same, written by hand", "", lambda n: plans[n]["exact by hand"] + plans[n]["pairing by hand"]),
        row("all values, order ≤ 4, one pairing", "150", lambda n: total(plans[n], 4)),
        row("gradient by feyngd's own program", "", lambda n: plans[n]["our g"]),
        row("compilation, order ≤ 3, in s", "3", lambda n: compilation[n]["values"]),
        row("compilation by hand, in s", "", lambda n: compilation[n]["by hand"]),
        row("compilation of the check of rounding, in s", "", lambda n: compilation[n]["dtype check"]),
        row("g in ms", "", lambda n: 1000 * plans[n]["g in s"]),
    ]
    return table(["", "target", *names], rows)


def total(plan: Mapping[str, float], order: int) -> float:
    """Return the cost of everything exact and one pairing."""
    return plan[f"exact {order}"] + plan[f"pairing {order}"]


def orders(results: Mapping[str, Any]) -> str:
    """The cost by order."""
    plans = results["plans"]["found"]
    rows = [
        [name, order, plan[f"exact {order}"], plan[f"pairing {order}"]]
        for name, plan in plans.items()
        for order in range(1, 5)
    ]
    return table(["network", "orders up to", "exact values", "every pairing"], rows)


def memory(results: Mapping[str, Any]) -> str:
    """The memory and time at many examples."""
    rows = [
        [
            found["examples"],
            found["parameters"],
            found["data in GiB"],
            found["before in GiB"],
            found["peak in GiB"],
            found["exact"],
            found["pairing"],
            found["whole call in s"],
        ]
        for found in results["memory"]["found"]
    ]
    header = ["examples", "parameters", "data, GiB", "held before, GiB", "held at most, GiB"]
    header += ["exact values, g", "one pairing, g", "whole call, s"]
    return table(header, rows)


def growth(results: Mapping[str, Any]) -> str:
    """The cost by the number of examples and parameters."""
    header = ["examples", "parameters", "exact values, g", "one pairing, g", "g in ms"]
    rows = [
        [f["examples"], f["parameters"], f["exact"], f["pairing"], 1000 * f["g in s"]]
        for name in ("examples", "parameters")
        for f in results[name]["found"]
    ]
    return table(header, rows)


def devices(results: Mapping[str, Any]) -> str:
    """The cost by the number of devices."""
    rows = [[f["devices"], f["exact"], f["pairing"]] for f in results["devices"]["found"]]
    return table(["devices", "exact values, g", "one pairing, g"], rows)


def deflation(results: Mapping[str, Any]) -> str:
    """The gain by deflation at trained points."""
    parts = []
    for name, found in results["deflation"]["found"].items():
        rows = [
            [f"`{what}`" if what[0] == "[" else what, row["pairing"], row["deflation"]]
            for what, row in found["rows"].items()
        ]
        parts.append(
            f"`{name}` at a mean loss of {found['loss']:.3g}:\n\n{table(['', 'pairing', 'deflation, strata'], rows)}"
        )
    return "\n\n".join(parts)


def disjoint(results: Mapping[str, Any]) -> str:
    """The baseline of disjoint batches."""
    found = results["disjoint"]["found"]
    diagrams = next(iter(found.values()))
    rows = [[f"`{d}`", *(found[n][d]["ratio"] for n in found)] for d in diagrams]
    worst = max(abs(one["standard errors apart"]) for by_n in found.values() for one in by_n.values())
    return (
        f"The two estimates of a value lie at most {worst:.1f} combined standard errors apart.\n\n"
        f"{table(['diagram', *(f'n = {n}' for n in found)], rows)}"
    )


def simulations(results: Mapping[str, Any]) -> str:
    """The baseline of brute force."""
    parts = []
    for name, found in results["simulations"]["found"].items():
        rows = [
            [
                row["rate"],
                row["change"],
                row["gap"],
                row["change to 1 %"],
                row["gap to 10 %"],
                f"{row['our change']:.2%}",
                f"{row['our gap']:.2%}",
                f"{row['truncation']:.1%}",
            ]
            for row in found["rows"]
        ]
        header = ["η", "change of the loss", "SGD − GD", "simulated change to 1 %, g", "simulated SGD − GD to 10 %, g"]
        header += ["our error of the change", "our error of SGD − GD", "truncation"]
        sgd, descent = found["one run"]
        costs = paragraph(
            f"`{name}`: all values of order ≤ 3 with 16 pairings take {found['all values']:,.0f} g, for every learning "
            f"rate and spacetime; one simulated run {sgd:.2g} g (SGD) and {descent:.2g} g (gradient descent)."
        )
        parts.append(f"{costs}\n\n{table(header, rows)}")
    return "\n\n".join(parts)


def fourth_order(results: Mapping[str, Any]) -> str:
    """Order 4 against order 3."""
    rows = [
        [name, rate, found["simulation"][i], f"{found['stderr'][i]:.1e}"]
        + [f"{found[f'order {k}'][i] - found['simulation'][i]:+.1e}" for k in (3, 4)]
        for name, found in results["orders"]["found"].items()
        for i, rate in enumerate(found["rates"])
    ]
    header = ["network", "η", "simulation", "± s.e.", "order 3 less simulation", "order 4 less simulation"]
    return table(header, rows)


def batches(results: Mapping[str, Any]) -> str:
    """The effect of the batch size."""
    rows = []
    for name, found in results["batch sizes"]["found"].items():
        for row in found["rows"]:
            apart = abs(row["predicted"] - row["simulated"])
            allowed = 3 * (row["sampling"] ** 2 + row["stderr"] ** 2) ** 0.5 + row["truncation"]
            rows.append(
                [
                    *(name, found["rate"], row["B"], row["predicted"], f"{row['truncation']:.1e}", row["simulated"]),
                    *(f"{row['stderr']:.1e}", f"{apart / allowed:.2f}"),
                ]
            )
    header = ["network", "η", "B", "predicted", "± truncation", "simulated", "± s.e.", "apart / allowed"]
    return table(header, rows)


def accelerated(results: Mapping[str, Any]) -> str:
    """Other forms of the series beyond its range."""
    found = results["acceleration"]["found"]
    by_problem = {name: acceleration.errors(one) for name, one in found.items()}
    at = {factor: i for i, factor in enumerate(acceleration.BEYOND)}
    rows = []
    for factor in (1.5, 2.0, 3.0, 4.0):
        for form in list(acceleration.FORMS)[1:]:
            ratios = np.array([one[form][at[factor]] / one["plain"][at[factor]] for one in by_problem.values()])
            better = f"{np.sum(ratios < 1)} of {len(ratios)}"
            rows.append([factor, form, float(np.exp(np.log(ratios).mean())), better])
    covered = [
        np.abs(one["exponential"]) <= np.abs(acceleration.apart(found[name])) + 3 * np.array(found[name]["stderr"])
        for name, one in by_problem.items()
    ]
    header = ["learning rate / valid range", "form", "error / error of the plain series", "better in"]
    single = [
        [name, *(float(one[form][at[3.0]] / abs(found[name]["change"][at[3.0]])) for form in ("plain", "exponential"))]
        for name, one in by_problem.items()
    ]
    cover = paragraph(
        "The distance between the exponential form and the plain series, with three standard errors of the simulation, "
        f"covers the error of the exponential form in {int(np.sum(covered))} of {np.size(covered)} cases."
    )
    return (
        f"{table(header, rows)}\n\n{cover}\n\nErrors at three times the range, in units of the change:\n\n"
        f"{table(['problem', 'plain', 'exponential'], single)}"
    )


PARTS: dict[Callable[[Mapping[str, Any]], str], tuple[str, ...]] = {
    targets: ("vectors", "plans", "compilation"),
    orders: ("plans",),
    memory: ("memory",),
    growth: ("examples", "parameters"),
    devices: ("devices",),
    deflation: ("deflation",),
    disjoint: ("disjoint",),
    simulations: ("simulations",),
    fourth_order: ("orders",),
    batches: ("batch sizes",),
    accelerated: ("acceleration",),
}


def page(results: Mapping[str, Any], old: str) -> str:
    """Return docs/benchmarks.md with the tables renewed whose results are there."""
    for part, needs in PARTS.items():
        if all(name in results for name in needs):
            machines = "; ".join(dict.fromkeys(results[name]["machine"] for name in needs))
            old = replaced(old, f"evaluation.py {shlex.join(needs)}", f"{part(results)}\n\n*{machines}*")
    return old
