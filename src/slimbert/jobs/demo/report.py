"""The report of the demo: report.md for people, report.json for programs, demo.png for both eyes at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...atomic import plain, write_atomically, write_json
from ...train.curve import FAINT, INK, TRAIN, VALID, png, smoothed
from ...train.progress import clock
from ...train.run import RunFolder
from .contest import Contender
from .result import Demo

QUIET, OURS = "#9e9e9e", "#2166ac"  # bars: of what was there before, and of the encoder that the demo trained


def write_report(made: Demo, folder: Path) -> None:
    """All three files."""
    rows = list(RunFolder(made.pretrained.run).rows())
    write_atomically(folder / "demo.png", picture(rows, made.contenders))
    write_atomically(folder / "report.md", markdown(made).encode())
    write_json(folder / "report.json", plain(made))


def markdown(made: Demo) -> str:
    """The whole result as a page."""
    trained, seeds = made.pretrained, len(made.contenders[0].scores)
    lines = ["# slimbert demo", "", *made.verdict, "", "![Loss and scores](demo.png)", ""]
    lines += ["| | accuracy | 95% interval | seconds | parameters |", "| --- | ---: | ---: | ---: | ---: |"]
    for one in ranked(made.contenders):
        size = "-" if one.parameters is None else f"{one.parameters:,}"
        interval = f"{one.low:.1%} - {one.high:.1%}"
        lines.append(f"| {one.name} | {one.accuracy:.1%} | {interval} | {one.seconds:.1f} | {size} |")
    lines += ["", about(seeds, trained.seconds), "", "## The data", "", *(f"- {note}" for note in made.notes)]
    lines += ["", "## Pretraining", ""]
    last = trained.val_loss or trained.loss
    loss = f"loss {made.first_loss:.2f} at the first update, {last:.2f} on held-out rows at the end"
    lines.append(f"{trained.tokens:,} tokens in {trained.steps:,} updates and {trained.seconds:.0f} s; {loss}.")
    lines.append("Hidden words it fills in:")
    lines += ["", *(f"- {one.text} {words(one.words)}" for one in made.filled)]
    lines += ["", f"## Three sentences, asked of {made.files['best classifier']}", ""]
    lines += [f"- {one.text} **{one.label}** ({one.score:.0%})" for one in made.answers]
    lines += ["", "## Time", "", *(f"- {name}: {seconds:.1f} s" for name, seconds in made.phases.items())]
    lines += [f"- all: {clock(made.seconds)}", "", "## Files", "", *(f"- {w}: `{p}`" for w, p in made.files.items())]
    lines += ["", "## Next", "", "```", *made.next, "```", ""]
    return "\n".join(lines)


def about(seeds: int, seconds: float) -> str:
    """What the numbers mean, and what they leave out."""
    return (
        f"Accuracy: mean of {seeds} seeds. A seed changes which examples are labelled, the fresh head, the order and "
        "the dropout; validation and test rows stay. The interval (95%, Student's t) tells how far other labels would "
        f"move it. Seconds: to fine-tune and answer, for one seed; the {seconds:.0f} s of pretraining come on top."
    )


def words(found: Sequence[Any]) -> str:
    """the (31%), a (12%)."""
    return ", ".join(f"{one.token} ({one.score:.0%})" for one in found)


def ranked(found: Sequence[Contender]) -> list[Contender]:
    """The best first."""
    return sorted(found, key=lambda one: -one.accuracy)


def picture(rows: Sequence[Mapping[str, Any]], found: Sequence[Contender]) -> bytes:
    """PNG: the loss of pretraining on the left, the scores with their intervals on the right."""
    figure = Figure(figsize=(10, 3.8), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.35])
    _loss(left, rows)
    _scores(right, ranked(found))
    for axes in (left, right):
        axes.tick_params(colors=INK, length=3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
    return png(figure)


def _loss(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    train = np.array([(row["seconds"], row["loss"]) for row in rows if row.get("loss") is not None])
    valid = np.array([(row["seconds"], row["val_loss"]) for row in rows if row.get("val_loss") is not None])
    smooth = smoothed(train[:, 1])
    axes.plot(train[:, 0], train[:, 1], color=TRAIN, alpha=0.2, linewidth=0.7)
    axes.plot(train[:, 0], smooth, color=TRAIN, linewidth=1.8, label=f"training, smoothed ({smooth[-1]:.2f})")
    if len(valid):
        label = f"held-out text ({valid[-1, 1]:.2f})"
        axes.plot(valid[:, 0], valid[:, 1], color=VALID, linewidth=1.2, marker="o", markersize=4, label=label)
    axes.set_title("Pretraining: guessing hidden words", loc="left", fontsize=11, color=INK, fontweight="bold")
    axes.set_xlabel("seconds", color=INK)
    axes.set_ylabel("loss (nats per hidden word piece)", color=INK)
    axes.set_xlim(0)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.legend(frameon=False, loc="upper right", labelcolor=INK)


def _scores(axes: Axes, found: Sequence[Contender]) -> None:
    places = np.arange(len(found))[::-1]
    means = np.array([one.accuracy for one in found]) * 100
    ends = np.array([(max(one.low, 0.0), min(one.high, 1.0)) for one in found]) * 100  # an interval may pass 0 and 100%
    reach = np.abs(ends - means[:, None]).T
    colors = [OURS if one.name.endswith(", pretrained") else QUIET for one in found]
    axes.barh(
        places, means, xerr=np.nan_to_num(reach), color=colors, height=0.62, error_kw={"ecolor": INK, "capsize": 3}
    )
    tops = np.fmax(means, ends[:, 1])
    for place, top, mean in zip(places, tops, means, strict=True):
        axes.text(top + 1.2, place, f"{mean:.1f}%", va="center", color=INK, fontsize=9.5)
    axes.set_yticks(places, [one.name.replace(", ", "\n").replace(" + ", "\n+ ") for one in found])
    axes.set_xlim(0, tops.max() + 12)
    seeds = len(found[0].scores)
    axes.set_title(f"Which library is it from? {seeds} seeds", loc="left", fontsize=11, color=INK, fontweight="bold")
    axes.set_xlabel("accuracy on the test rows (%), 95% interval", color=INK)
    axes.grid(color=FAINT, linewidth=0.6, axis="x")
