"""The distance matrices of a search as JSON and as a picture, as the Early-Bird papers draw them.

Rows and columns are the masks in the order of their updates; dark is near. A dark corner at the end is a ticket that no
longer changes.
"""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ...atomic import write_atomically, write_json
from ...methods.units import KINDS
from ...train.curve import INK, png

JSON, PICTURE = "distances.json", "distances.png"


def write_distances(folder: Path, found: dict[str, Any]) -> None:
    """distances.json and distances.png in the run folder, of what `Watch.described` says."""
    write_json(folder / JSON, found, indent=None)
    write_atomically(folder / PICTURE, drawn(found))


def drawn(found: dict[str, Any]) -> bytes:
    """The PNG of what `Watch.described` says: one square for heads, one for neurons."""
    figure = Figure(figsize=(9, 4.2), dpi=150, layout="constrained")
    highest = max([value for kind in KINDS for row in found[kind]["distances"] for value in row], default=0.0) or 1.0
    places = figure.subplots(1, len(KINDS))
    for axes, kind in zip(places, KINDS, strict=True):
        matrix = found[kind]["distances"]
        shown = axes.imshow(matrix or [[0.0]], cmap="viridis", vmin=0.0, vmax=highest, interpolation="nearest")
        state = "settled" if found[kind]["settled"] else "not settled"
        axes.set_title(f"{kind}: {state}, tolerance {found[kind]['tolerance']:.3f}", loc="left", fontsize=10, color=INK)
        label = FuncFormatter(lambda place, _: _update(found["updates"], place))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
            axis.set_major_formatter(label)
        axes.set_xlabel("mask after update", color=INK)
        axes.tick_params(colors=INK, length=3)
    figure.colorbar(shown, ax=places, label="share of units in which two masks differ")
    figure.suptitle(f"distance of the masks; drawn: {found['why']}", x=0.01, ha="left", fontsize=11, color=INK)
    return png(figure)


def _update(updates: list[int], place: float) -> str:
    """The update of a place on an axis; nothing between two masks and beyond them."""
    near = round(place)
    return f"{updates[near]:,}" if abs(place - near) < 1e-6 and 0 <= near < len(updates) else ""
