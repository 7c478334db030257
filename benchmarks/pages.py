"""Turns results into docs/benchmarks.md."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import acceleration
import numpy as np

HEAD = """# Benchmarks

This page is written by `python benchmarks/evaluation.py`, which takes about an hour; `make benchmarks` runs it and
the benchmarks of the symbolic half. The unit of cost is **g**: one gradient of the mean loss over all 1,797 digits,
written by hand in JAX with the fastest of five chunk sizes. Costs are ratios of times within one process, the least of
several turns; seconds mean little, as machines differ and this one was shared.

Networks: `convnet` (6,750 parameters) and `wide convnet` (42,800), two convolutions and two dense layers; `mlp`,
64-32-10 (2,410); `logistic` (650). Single precision, sampling errors by the replicates.
"""


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; numbers are shown with three digits."""
    lines = ["| " + " | ".join(map(shown, row)) + " |" for row in (header, *rows)]
    lines.insert(1, "|" + "---|" * len(header))
    return "\n".join(lines)


def shown(cell: Any) -> str:
    """Return a cell as text."""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


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
    return f"""## What values cost

Gradients, unless said otherwise. Targets are those for convnets, of 6,000 and 42,000 parameters where they differ, and
for the small MLP. "By hand" is `benchmarks/by_hand.py`: nested derivatives of the same vectors in two jitted programs.
Compilation is what the first call takes beyond the second; JAX's compilation cache on disk, off by default, takes most
of it away from a second process. Its target of 3 s is of a machine where a program written by hand took 2.6 to 3.5 s.

{table(["", "target", *names], rows)}"""


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
    return f"## Cost by order\n\n{table(['network', 'orders up to', 'exact values', 'every pairing'], rows)}"


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
    return f"""## Many examples, many parameters

An MLP 784-256-10 on images of smooth noise, all values of order ≤ 3 with two pairings; the whole call compiles,
deflates where pairings are noisy, and checks rounding. "Held" is the memory of the
process, with data and runtime: before the call, and at most during it.

{table(header, rows)}"""


def growth(results: Mapping[str, Any]) -> str:
    """The cost by the number of examples, parameters and devices."""
    header = ["examples", "parameters", "exact values, g", "one pairing, g", "g in ms"]
    rows = [
        [f["examples"], f["parameters"], f["exact"], f["pairing"], 1000 * f["g in s"]]
        for name in ("examples", "parameters")
        for f in results[name]["found"]
    ]
    devices = [[f["devices"], f["exact"], f["pairing"]] for f in results["devices"]["found"]]
    return f"""## Cost by examples, parameters and devices

All values of order ≤ 3 of an MLP with one hidden layer, on digits repeated or left out. A small g is mostly overhead of
single calls, on both sides.

{table(header, rows)}

The convnet on a mesh of virtual devices, which share the same cores: what sharing out costs, not what more hardware
gains.

{table(["devices", "exact values, g", "one pairing, g"], devices)}"""


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
    return """## Deflation and strata at trained points

Relative standard errors of sampled values after 16 pairings, at a point reached by gradient descent. Deflation is
forced here; by default it is used where it was measured to be better. Values whose examples are tied
three times are stratified instead.

""" + "\n\n".join(parts)


def disjoint(results: Mapping[str, Any]) -> str:
    """The baseline of disjoint batches."""
    found = results["disjoint"]["found"]
    diagrams = next(iter(found.values()))
    rows = [[f"`{d}`", *(found[n][d]["ratio"] for n in found)] for d in diagrams]
    worst = max(abs(one["standard errors apart"]) for by_n in found.values() for one in by_n.values())
    return f"""## Against disjoint batches

Four disjoint batches of n examples, products of their means' derivatives, inclusion and exclusion for tied nodes: what
it costs more than pairing at the same standard error (time times variance), for the convnet at its start. Both estimate
the same numbers: they lie at most {worst:.1f} combined standard errors apart.

{table(["diagram", *(f"n = {n}" for n in found)], rows)}"""


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
        parts.append(
            f"`{name}`: all values of order ≤ 3 with 16 pairings take {found['all values']:,.0f} g, for every learning "
            f"rate and spacetime; one simulated run {found['one run'][0]:.2g} g (SGD) and {found['one run'][1]:.2g} g "
            f"(gradient descent).\n\n{table(header, rows)}"
        )
    return """## Against simulation

One epoch of 100 fresh points, one at a time, and gradient descent on the same training sets for as many steps; runs are
counted from the measured spread, without a control. Our errors are sampling errors; truncation is the last order kept,
in units of the change.

""" + "\n\n".join(parts)


def fourth_order(results: Mapping[str, Any]) -> str:
    """Order 4 against order 3."""
    rows = [
        [name, rate, found["simulation"][i], f"{found['stderr'][i]:.1e}"]
        + [f"{found[f'order {k}'][i] - found['simulation'][i]:+.1e}" for k in (3, 4)]
        for name, found in results["orders"]["found"].items()
        for i, rate in enumerate(found["rates"])
    ]
    header = ["network", "η", "simulation", "± s.e.", "order 3 less simulation", "order 4 less simulation"]
    return f"""## Order 4 against order 3

Test loss after ten steps on fresh digits, at 0.6 and 0.9 of the learning rate up to which both orders are valid.
Simulations use a control.

{table(header, rows)}"""


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
    return f"""## The effect of the batch size

1,437 digits to train on, 360 to test on (the conditional reading): the test loss after ten steps with batches drawn
with replacement, above that after ten steps of gradient descent, at 0.8 of the valid range. Allowed are three combined
standard errors and the truncation figure. Simulations use a control.

{table(header, rows)}"""


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
    return f"""## Acceleration

Predictions to order 3 of the change of the test loss, cast into other forms with the same coefficients, against 2,000
simulated runs each on {len(found)} problems with {acceleration.EXAMPLES} digits; geometric means over problems. "Power"
is A((1 − bη)^(2T) − 1) + Cη. `Prediction.accelerated` is the exponential form, which grows no faster than η. At one
and a half times the range nothing is gained reliably: the plain series happens to cross the truth near there.

{table(header, rows)}

How far the exponential form and the plain series are apart, with three standard errors of the simulation, covers the
error of the former in {int(np.sum(covered))} of {np.size(covered)} cases, five learning rates for each problem.

Errors at three times the range, in units of the change:

{table(["problem", "plain", "exponential"], single)}"""


PARTS: dict[Callable[[Mapping[str, Any]], str], tuple[str, ...]] = {
    targets: ("vectors", "plans", "compilation"),
    orders: ("plans",),
    memory: ("memory",),
    growth: ("examples", "parameters", "devices"),
    deflation: ("deflation",),
    disjoint: ("disjoint",),
    simulations: ("simulations",),
    fourth_order: ("orders",),
    batches: ("batch sizes",),
    accelerated: ("acceleration",),
}


def page(results: Mapping[str, Any], old: str) -> str:
    """Return the page: an older one with the parts renewed whose results are there."""
    kept = {_heading(part): part.strip() for part in re.split(r"(?m)^(?=## )", old)[1:]}
    made = [part(results) for part, needs in PARTS.items() if all(name in results for name in needs)]
    measured = [f"- {name}" for name in dict.fromkeys(result["machine"] for result in results.values())]
    before = kept.get("## Machine", "").splitlines()[2:]
    made.append("## Machine\n\n" + "\n".join(dict.fromkeys([*before, *measured])))
    return "\n\n".join([HEAD.strip(), *(kept | {_heading(part): part for part in made}).values()]) + "\n"


def _heading(part: str) -> str:
    return part.partition("\n")[0].strip()
