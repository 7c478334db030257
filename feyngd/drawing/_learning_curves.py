"""Figures of anchored predictions, in matplotlib."""

from typing import TYPE_CHECKING, Any

from ._axes import LABELS, PALETTE, new_axes
from ._diagram_box import diagram_box

if TYPE_CHECKING:
    from ..anchoring import AnchoredPrediction
    from ..diagrams import Diagram

_OF_PARTS = {"minibatch noise": PALETTE[3], "finite data": PALETTE[1], "gap": PALETTE[4]}


def plot_curve(prediction: "AnchoredPrediction", ax: Any, label: str | None, colour: str | None) -> Any:
    """Draw a learning curve; on new axes with the noiseless path."""
    alone = ax is None
    ax = new_axes(ax)
    colour = colour or PALETTE[3]
    times, mean = prediction.times, prediction.mean
    sampling = 2 * prediction.stderr
    reach = sampling + prediction.truncation
    if alone:
        ax.plot(times, prediction.noiseless, color=PALETTE[0], lw=1.2, ls="--", label="noiseless", zorder=1)
    label = (label or str(prediction.spacetime)) + (" (not smooth: no claim)" if prediction.kinks else "")
    ax.plot(times, mean, color=colour, lw=1.8, ls=(0, (3, 2)) if prediction.kinks else "-", label=label, zorder=3)
    ax.fill_between(times, mean - reach, mean + reach, color=colour, alpha=0.12, lw=0, zorder=2)
    ax.fill_between(times, mean - sampling, mean + sampling, color=colour, alpha=0.3, lw=0, zorder=2)
    ax.set_xlabel("step t")
    ax.set_ylabel(LABELS[prediction.quantity])
    if alone:
        ax.legend(frameon=False, fontsize=8)
    return ax


def plot_contributions(prediction: "AnchoredPrediction", ax: Any) -> Any:
    """Draw what each part adds, with two standard errors; above, its diagrams beside its name."""
    ax = new_axes(ax)
    times, key = prediction.times, []
    for number, (name, rows) in enumerate(prediction.parts.items()):
        colour = _OF_PARTS.get(name, PALETTE[(number + 2) % len(PALETTE)])
        mean, reach = rows.mean(axis=0), 2 * rows.std(axis=0, ddof=1) / len(rows) ** 0.5
        ax.plot(times, mean, color=colour, lw=1.8, label=name)
        ax.fill_between(times, mean - reach, mean + reach, color=colour, alpha=0.25, lw=0)
        key.append(_named(name, colour, prediction.diagrams.get(name, ())))
    ax.axhline(0, color=PALETTE[0], lw=0.8)
    ax.set_xlim(times[0], max(times[-1], 1))
    ax.set_xlabel("step t")
    ax.set_ylabel("added to the noiseless path")
    ax.add_artist(_above(prediction, key, ax))
    return ax


def _named(name: str, colour: str, diagrams: tuple["Diagram", ...]) -> Any:
    """Return the name of a part in its colour, and its diagrams."""
    from matplotlib.offsetbox import HPacker, TextArea

    label = TextArea(name, textprops={"color": colour, "fontsize": 9, "fontweight": "bold"})
    return HPacker(children=[label, *map(diagram_box, diagrams)], align="center", pad=0, sep=5)


def _above(prediction: "AnchoredPrediction", key: list[Any], ax: Any) -> Any:
    """Return the spacetime and the key, to stand above the axes."""
    from matplotlib.offsetbox import AnchoredOffsetbox, TextArea, VPacker

    title = TextArea(str(prediction.spacetime), textprops={"fontsize": 10})
    return AnchoredOffsetbox(
        loc="lower left",
        child=VPacker(children=[title, *key], align="left", pad=0, sep=3),
        frameon=False,
        pad=0.2,
        borderpad=0,
        bbox_to_anchor=(0.0, 1.0),
        bbox_transform=ax.transAxes,
    )
