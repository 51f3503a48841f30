"""The picture of a run: training loss, raw and smoothed, and the validation losses, against steps and time."""

import io
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Values = np.ndarray[Any, np.dtype[np.float64]]

INK, FAINT, TRAIN, VALID = "#333333", "#d9d9d9", "#2166ac", "#d6604d"
MOST = 4000  # raw points drawn; more are not seen at this width
# seconds between two marks of the upper axis: the first that gives at most 7 marks
UNITS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 432000, 864000)


def draw(rows: Iterable[Mapping[str, Any]], *, title: str) -> bytes | None:
    """The PNG of a run's rows, or None where none has a loss."""
    train, valid = _series(rows)
    steps, losses, seconds = train
    if not len(steps) and not len(valid[0]):
        return None
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    if len(steps):
        thin = slice(None, None, math.ceil(len(steps) / MOST))
        smooth = smoothed(losses)
        axes.plot(steps[thin], losses[thin], color=TRAIN, alpha=0.25, linewidth=0.8)
        axes.plot(steps[thin], smooth[thin], color=TRAIN, linewidth=1.8, label=f"training, smoothed ({smooth[-1]:.3f})")
    if len(valid[0]):
        label = f"validation ({valid[1][-1]:.3f})"
        axes.plot(valid[0], valid[1], color=VALID, linewidth=1.2, marker="o", markersize=4, clip_on=False, label=label)
    last = max(*(float(part[0][-1]) for part in (train, valid) if len(part[0])), 1.0)
    axes.set_xlim(0, last)
    _label(axes, title)
    _time(axes, np.concatenate([[0.0], steps, valid[0]]), np.concatenate([[0.0], seconds, valid[2]]))
    return png(figure)


def png(figure: Figure) -> bytes:
    """The picture as a file, the same bytes each time."""
    made = io.BytesIO()
    figure.savefig(made, format="png", metadata={"Software": None})
    return made.getvalue()


def smoothed(losses: Values) -> Values:
    """Mean of the rows around each one: up to 1% of all (at least 5) on each side, fewer at the steep beginning."""
    places = np.arange(len(losses))
    reach = np.clip(places // 8, 1, max(5, len(losses) // 100))
    first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(losses))
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    means: Values = (sums[last] - sums[first]) / (last - first)
    return means


def _series(rows: Iterable[Mapping[str, Any]]) -> tuple[tuple[Values, Values, Values], tuple[Values, Values, Values]]:
    """(steps, losses, seconds) of the training rows and of the validation rows; rows without a number are left out."""
    parts: dict[str, list[tuple[float, float, float]]] = {"loss": [], "val_loss": []}
    for row in rows:
        for name, points in parts.items():
            loss, seconds = row.get(name), row.get("seconds")
            if isinstance(loss, int | float):
                points.append((row["step"], loss, seconds if isinstance(seconds, int | float) else math.nan))
    train, valid = (np.array(points, dtype=np.float64).reshape(-1, 3).T for points in parts.values())
    return (train[0], train[1], train[2]), (valid[0], valid[1], valid[2])


def _label(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel("loss (nats)", color=INK)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right", labelcolor=INK)


def _time(axes: Axes, steps: Values, seconds: Values) -> None:
    """The upper axis: elapsed time at round values, where the steps reached it."""
    known = np.isfinite(seconds)
    order = np.argsort(steps[known], kind="stable")
    steps, seconds = steps[known][order], np.maximum.accumulate(seconds[known][order])
    total = float(seconds[-1])
    if total <= 0:
        return
    unit = next((unit for unit in UNITS if total / unit <= 7), UNITS[-1])
    marks = np.arange(0, total * 1.0001, unit)
    upper = axes.twiny()
    upper.set_xlim(axes.get_xlim())
    upper.set_xticks(np.interp(marks, seconds, steps).tolist(), [_clock(mark, unit) for mark in marks])
    upper.set_xlabel(f"elapsed time ({_unit(unit)})", color=INK)
    upper.tick_params(colors=INK, length=3)
    upper.spines[["left", "right", "bottom"]].set_visible(False)
    upper.spines["top"].set_color(FAINT)


def _unit(unit: float) -> str:
    return "s" if unit < 30 else "min" if unit < 1800 else "h" if unit < 86400 else "days"


def _clock(seconds: float, unit: float) -> str:
    return f"{seconds / {'s': 1, 'min': 60, 'h': 3600, 'days': 86400}[_unit(unit)]:g}"
