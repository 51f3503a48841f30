"""Pretraining dense, as a ticket and as a random one: losses at equal times, a picture, scores after fine-tuning."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from arms import table
from records import picture

Curve = Sequence[Sequence[float]]  # [seconds, loss], by rising seconds
PARTS = 4  # equal shares of the time
COLOURS = {"dense": "#222", "ticket": "#c8502d", "random": "#2d6fc8"}
ABOUT = "The search counts in the time. Between two validations the loss is taken to be on the line that joins them."


def curves_of(found: Mapping[str, Any], arms: Sequence[str]) -> dict[str, Curve]:
    """The curves that are there, by arm."""
    keys = {arm: f"pretraining {arm}" for arm in arms}
    return {arm: found[key]["curve"] for arm, key in keys.items() if key in found and found[key]["curve"]}


def at_seconds(curves: Mapping[str, Curve]) -> tuple[list[float], dict[str, list[float]]]:
    """(seconds, by arm the losses then): PARTS equal shares of the time that all arms had; nan before the first."""
    last = min(curve[-1][0] for curve in curves.values())
    times = [last * (part + 1) / PARTS for part in range(PARTS)]
    losses = {}
    for arm, curve in curves.items():
        seconds, found = np.array(curve, dtype=np.float64).T
        losses[arm] = [float(loss) for loss in np.interp(times, seconds, found, left=np.nan)]
    return times, losses


def said_of(curves: Mapping[str, Curve]) -> list[str]:
    """The losses at the end, beside dense."""
    if "dense" not in curves or len(curves) < 2:
        return []
    times, losses = at_seconds(curves)
    dense = losses["dense"][-1]
    others = ", ".join(f"{arm} {loss[-1] - dense:+.3f}" for arm, loss in losses.items() if arm != "dense")
    after = f"Validation loss after {times[-1] / 60:.1f} minutes of pretraining, one seed"
    return [f"{after}: dense {dense:.3f} nats; beside it {others}."]


def shown(
    name: str, found: Mapping[str, Any], arms: Sequence[str], tasks: Sequence[str], *, entropy: float | None
) -> list[str]:
    """Tables and picture, as Markdown, the table of what was fine-tuned last; nothing where nothing is there.

    entropy: of unigrams, in nats.
    """
    if not (curves := curves_of(found, arms)):
        return []
    times, losses = at_seconds(curves)
    minutes = [f"{seconds / 60:.1f} min" for seconds in times]
    rows = [
        [arm, *("not begun" if math.isnan(loss) else f"{loss:.3f}" for loss in some)] for arm, some in losses.items()
    ]
    draw(name, curves)
    parts = [
        table(["validation loss, nats, after", *minutes], rows),
        ABOUT,
        *said_to_count(curves, entropy),
        "![Validation loss of pretraining against minutes](curve.png)",
    ]
    scores = [[arm, *(score(found, arm, kind) for kind in tasks)] for arm in curves]
    return [*parts, table(["then fine-tuned, score in %", *tasks], scores)]


def said_to_count(curves: Mapping[str, Curve], entropy: float | None) -> list[str]:
    """From when on the loss of each arm says something: before, a model knows how frequent tokens are, and no more."""
    if entropy is None:
        return []
    from quality_report import ENOUGH  # matplotlib takes a second to load

    said = []
    for arm, curve in curves.items():
        first = next((seconds for seconds, loss in curve if loss <= entropy - ENOUGH), None)
        said.append(f"{arm} never" if first is None else f"{arm} after {first / 60:.1f} minutes")
    below = f"{ENOUGH} nat below the {entropy:.3f} nats of unigrams"
    return [f"Encoders differ in what they learnt only once their loss is {below}: {', '.join(said)}."]


def score(found: Mapping[str, Any], arm: str, kind: str) -> str:
    """Of the task `kind`, in %, with the difference to dense in points."""
    one, dense = (found.get(f"pretraining {each}, {kind}") for each in (arm, "dense"))
    if one is None:
        return "not measured"
    apart = "" if arm == "dense" or dense is None else f" ({100 * (one['score'] - dense['score']):+.2f})"
    return f"{100 * one['score']:.2f}{apart}"


def draw(name: str, curves: Mapping[str, Curve]) -> None:
    """Loss against minutes, into curve.png of the record."""
    import matplotlib.pyplot as plt  # takes a second to load

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for number, (arm, curve) in enumerate(curves.items()):
        seconds, losses = np.array(curve, dtype=np.float64).T
        axes.plot(seconds / 60, losses, label=arm, color=COLOURS.get(arm, f"C{number}"), linewidth=1.6)
    axes.set_xlabel("minutes of training, search included")
    axes.set_ylabel("validation loss, nats per predicted token")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(picture(name, "curve.png"), dpi=150)
    plt.close(figure)
