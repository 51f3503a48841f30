"""Tables and pictures of the record of benchmarks/depth.py."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from arms import table
from depth_arms import ADAPTIVE, COMBINED
from depth_verdicts import points
from records import done, picture

SHARES = (0.5, 0.75)
COLOURS = {"dense": "#222", "DACT": "#c8502d", "truncated": "#2d6fc8", "entropy": "#3a9a5b", "patience": "#8a5bb0"}
SIZES = ("32", "1")  # of the batches that are timed
Runs = Sequence[Mapping[str, Any]]
Chart = Mapping[str, Any] | None  # ms of all depths of the first seed, in turn; None: not timed


def ms_of(chart: Chart, arm: str, depth: str, size: str) -> float | None:
    """Milliseconds per text, the median of the turns."""
    times = (chart or {}).get(size, {}).get(f"{arm}, {depth}")
    return None if times is None else statistics.median(times)


def depths(ground: Mapping[str, Runs], chart: Chart) -> str:
    """Every depth of every arm, the means over the seeds; times are of the first."""
    rows = []
    for arm, found in ground.items():
        for place, first in enumerate(found[0]["points"]):
            same = [run["points"][place] for run in found]
            whole = [dense["points"][0]["macs_per_text"] for dense in ground["dense"]]
            share = statistics.mean(one["macs_per_text"] / macs for one, macs in zip(same, whole, strict=False))
            score = f"{100 * statistics.mean(one['score'] for one in same):.2f}"
            score += f" ± {100 * statistics.stdev(one['score'] for one in same):.2f}" if len(same) > 1 else ""
            times = [ms_of(chart, arm, first["depth"], size) for size in SIZES]
            ms = ["" if one is None else f"{one:.2f}" for one in times]
            reach = f"{statistics.mean(one['mean_depth'] for one in same):.2f}" if "mean_depth" in first else ""
            rows.append([f"{arm}, {first['depth']}", score, f"{share:.1%}", *ms, reach, str(len(same))])
    return table(["", "accuracy, %", "multiply-adds", "ms, batch 32", "ms, batch 1", "units", "seeds"], rows)


def elsewhere(name: str, kind: str) -> list[list[str]]:
    """A line of another task."""
    dense, run = (done(name, f"{kind} {arm} 0") for arm in ("dense", ADAPTIVE))
    if dense is None or run is None:
        return []
    by_cost = sorted(run["points"], key=lambda point: point["macs_share"])
    full, safe = (next(one for one in run["points"] if one["depth"] == word) for word in ("full", "safe"))
    cells = [kind, run["metric"], f"{100 * dense['points'][0]['score']:.2f}", f"{100 * full['score']:.2f}"]
    cells += [f"{100 * safe['score']:.2f}", f"{safe['macs_share']:.1%}"]
    for share in SHARES:
        below = [one for one in by_cost if one["macs_share"] <= share]
        if not below:
            cells.append("not reached")
            continue
        over, low, high = below[-1]["over_full"]
        cells.append(f"{100 * below[-1]['score']:.2f} ({points(over)}; {points(low)} to {points(high)})")
    return [cells]


def counted(found: Mapping[str, Any] | None) -> list[str]:
    """What the combination costs before it is trained, and where all texts stop at one unit."""
    if found is None:
        return []
    whole = found["dense"][-1]
    rows = [
        [arm, f"{found[arm][-1] / 1e6:,.0f}", *(f"{whole / spent:.2f}" for spent in reversed(found[arm]))]
        for arm in ("dense", "dense, cls", "narrow", "narrow + ticket")
    ]
    units = [f"all stop at unit {unit}" for unit in range(len(found["dense"]) - 1, 0, -1)]
    columns = ["", "million multiply-adds", "times fewer than dense", *units]
    about = f"Counted for a text of {found['length']} tokens, without a head, the ticket a random one."
    return [about, table(columns, rows)]


def drawn(name: str, ground: Mapping[str, Runs], chart: Chart) -> list[str]:
    """The pictures, as Markdown."""
    parts = []
    plain = {arm: found for arm, found in ground.items() if "narrow" not in arm}
    draw(name, "curve.png", plain, chart)
    parts.append("![Score against multiply-adds and milliseconds, means over the seeds of the table](curve.png)")
    if COMBINED in ground:
        both = {arm: ground[arm] for arm in ground if "narrow" in arm or arm in ("dense", ADAPTIVE)}
        draw(name, "combined.png", both, chart)
        parts.append("![Score of the combination against both, means over the seeds of the table](combined.png)")
    return parts


def draw(name: str, file: str, ground: Mapping[str, Runs], chart: Chart) -> None:
    """Score against the share of the multiply-adds and, where depths were timed, against milliseconds in batches of 32
    and one by one."""
    import matplotlib.pyplot as plt  # takes a second to load

    panels = ["multiply-adds, % of dense", *(f"ms per text, batch {size}" for size in SIZES if chart)]
    figure, all_axes = plt.subplots(
        1, len(panels), figsize=(4.3 * len(panels), 4.2), layout="constrained", sharey=True, squeeze=False
    )
    for axes, title, size in zip(all_axes[0], panels, (None, *SIZES), strict=False):
        for number, (label, line) in enumerate(lines(ground, chart, size).items()):
            across, scores = zip(*sorted(line), strict=True)
            colour = COLOURS.get(label, f"C{number}")
            axes.plot(across, scores, "o-", markersize=4, linewidth=1.3, color=colour, label=label)
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    all_axes[0][0].set_ylabel("accuracy, %")
    all_axes[0][-1].legend(frameon=False, fontsize=8)
    figure.savefig(picture(name, file), dpi=150)
    plt.close(figure)


def lines(ground: Mapping[str, Runs], chart: Chart, size: str | None) -> dict[str, list[tuple[float, float]]]:
    """(cost, score in %) of every depth, the means over the seeds; truncated encoders are one line. The cost: % of the
    multiply-adds of dense, or with a size of batches the milliseconds, where they are known."""
    out: dict[str, list[tuple[float, float]]] = {}
    whole = ground["dense"][0]["points"][0]["macs_per_text"]
    for arm, found in ground.items():
        label = "truncated" + ", cls" * arm.endswith("cls") if arm.startswith("truncated") else arm
        for place, first in enumerate(found[0]["points"]):
            same = [run["points"][place] for run in found]
            share = 100 * statistics.mean(one["macs_per_text"] for one in same) / whole
            spent = share if size is None else ms_of(chart, arm, first["depth"], size)
            if spent is not None:
                out.setdefault(label, []).append((spent, 100 * statistics.mean(one["score"] for one in same)))
    return out
