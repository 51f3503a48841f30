"""The record of benchmarks/depth.py for people: tables, sentences on the claims, pictures; of whatever is there yet."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any, NamedTuple

from arms import listed, table
from depth_verdicts import (
    Measured,
    apart,
    area,
    at_depth,
    chosen,
    common,
    interval,
    joined,
    kept_promise,
    measured,
    mixed,
    mixture,
    on_validation,
    only,
    points,
    said_above,
    said_not_below,
)
from records import done, everything, picture

HALF, SHARES = 0.5, (0.5, 0.75)
ADAPTIVE, COMBINED, LOSS = "DACT", "narrow + ticket + DACT", 0.005  # LOSS: on validation, of the depth that is chosen
GOALS = (3.5, 2.0, 0.01)  # of the combination: times fewer multiply-adds, times fewer ms, loss
COLOURS = {"dense": "#222", "DACT": "#c8502d", "truncated": "#2d6fc8", "entropy": "#3a9a5b", "patience": "#8a5bb0"}
HOUR = "Milliseconds of the table are of the hour in which each run was made; ratios of time above are of runs in turn."
Runs = list[dict[str, Any]]


class Text(NamedTuple):
    """sentences: on the claims; markdown: all of it."""

    sentences: list[str]
    markdown: str


def text(name: str, seeds: int, *, arms: Sequence[str], others: Sequence[str], combined: Sequence[str]) -> Text:
    """What stands in the README; pictures are written beside it."""
    ground = {arm: found for arm in dict.fromkeys((*arms, *combined)) if (found := runs(name, f"qnli {arm}", seeds))}
    said: list[str] = []
    parts: list[str] = []
    if "dense" in ground:
        said += [*claims(ground), *promised(name), *combination(name, ground)]
        parts += [f"## QNLI (rebuilt train)\n\n{depths(ground)}\n\n{HOUR}", *drawn(name, ground)]
    if rows := [row for kind in others for row in elsewhere(name, kind)]:
        columns = ["", "metric", "dense", "full depth", "safe", "multiply-adds of safe", "at 50%", "at 75%"]
        note = "SQuAD has no adaptive form: an answer is a pair of places, for which no rule here is safe."
        parts.append(f"## Other tasks, one seed\n\n{table(columns, rows)}\n\n{note}")
    said = [*said, *law(name)] or ["The dense arm is not complete yet."]
    settings = f"Settings: {done(name, 'settings')}"
    return Text(said, "\n\n".join([settings, listed(said), *parts]))


def runs(name: str, key: str, seeds: int) -> Runs:
    """What the record has of an arm, seed by seed from 0 on, up to the first that is missing."""
    found: Runs = []
    for seed in range(seeds):
        one = done(name, f"{key} {seed}")
        if one is None:
            break
        found.append(one)
    return found


# the claims on QNLI


def as_measured(ground: Mapping[str, Runs], arm: str) -> list[Measured]:
    return list(starmap(measured, zip(ground.get(arm, ()), ground["dense"], strict=False)))


def claims(ground: Mapping[str, Runs]) -> list[str]:
    """Areas above truncation, entropy and patience; the score at half and three quarters of the multiply-adds."""
    dact, dense = as_measured(ground, ADAPTIVE), as_measured(ground, "dense")
    if not dact:
        return []
    shallow = {arm.split()[-1]: as_measured(ground, arm) for arm in ground if arm.startswith("truncated")}
    said = []
    if shallow:
        truncated = [joined(some) for some in zip(*shallow.values(), dense, strict=False)]
        said.append(area_said(dact, truncated, f"encoders of {', '.join(shallow)} and all layers", 1.0))
    exits = {peer: found for peer in ("entropy", "patience") if (found := as_measured(ground, peer))}
    said += [area_said(dact, found, f"{peer} exit", HALF) for peer, found in exits.items()]
    return said + [one for share in SHARES for one in at_share(ground, share)]


def area_said(first: list[Measured], second: list[Measured], peer: str, high: float) -> str:
    count = min(len(first), len(second))
    first, second = first[:count], second[:count]
    low = common((first, second))
    if low >= high:
        return f"{peer}: nothing to compare up to {high:.0%} of the multiply-adds, one begins at {low:.0%} only."
    found, spread = apart(first, second, area(low, high))
    what = f"Mean score from {low:.0%} to {high:.0%} of the multiply-adds, {seeds_of(count)}"
    return said_above(found, spread, what=what, peer=peer)


def at_share(ground: Mapping[str, Runs], share: float) -> list[str]:
    """The score with a share of the multiply-adds, at the depth, or the two, that validation chose for it."""
    runs, dense = ground[ADAPTIVE][: len(ground["dense"])], as_measured(ground, "dense")
    costs = [on_validation(*both) for both in zip(runs, ground["dense"], strict=False)]
    weights = [found for one in costs if (found := mixture(*one, share)) is not None]
    if len(weights) < len(costs):
        least = max(shares.min() for shares, _ in costs)
        return [f"Score with {share:.0%} of the multiply-adds: not reached, the cheapest depth costs {least:.0%}."]
    whole = as_measured(ground, ADAPTIVE)
    mine = [mixed(*both) for both in zip(whole, weights, strict=True)]
    spent = statistics.mean(float(run.shares[0]) for run in mine)
    names = [[one["depth"] for one in run["validation"]] for run in runs]
    depths = "; ".join(
        " and ".join(name for name, weight in zip(*both, strict=True) if weight > 0)
        for both in zip(names, weights, strict=True)
    )
    what = f"Score with {share:.0%} of the multiply-adds by validation ({depths}; {spent:.1%} on the test)"
    said = []
    for peer, full in (("its own full depth", [at_depth(run) for run in whole]), ("dense", dense[: len(mine)])):
        found, spread = apart(mine, full, only)
        said.append(said_not_below(found, spread, what=f"{what}, {seeds_of(len(mine))}", peer=peer))
    return said


def combination(name: str, ground: Mapping[str, Runs]) -> list[str]:
    """The combination at the depth that validation chose, beside dense; the time of both as they took turns."""
    found = list(zip(ground.get(COMBINED, ()), ground["dense"], strict=False))
    if not found:
        return []
    places = [chosen(one["points"], one["validation"], LOSS) for one, _ in found]
    pairs = [(one["points"][place], dense["points"][0]) for (one, dense), place in zip(found, places, strict=True)]
    fewer = statistics.median(dense["macs_per_text"] / point["macs_per_text"] for point, dense in pairs)
    mine = [at_depth(measured(*both), place) for both, place in zip(found, places, strict=True)]
    over, spread = apart(mine, as_measured(ground, "dense")[: len(mine)], only)
    depths = ", ".join(point["depth"] for point, _ in pairs)
    macs, ms, loss = GOALS
    said = [f"{COMBINED}, at the depth that validation chose ({depths}), {seeds_of(len(found))}:"]
    said.append(f"{fewer:.2f} times fewer multiply-adds, goal {macs:g}: {reached_or_not(fewer >= macs)};")
    if (clock := done(name, "clock combined")) is None:
        said.append("ms beside dense not taken yet;")
    else:
        faster, (low, high) = clock["times_as_fast"], clock["interval"]
        times = f"{faster:.2f} times fewer ms ({low:.2f} to {high:.2f}) in batches of 32, in turn with dense, seed 0"
        said.append(f"{times}, goal {ms:g}: {reached_or_not(faster >= ms)};")
    within = reached_or_not(over.difference >= -loss)
    said.append(f"score {interval(over, spread)} beside dense, goal {points(-loss)}: {within}.")
    return [" ".join(said)]


def law(name: str) -> list[str]:
    """Whether the safe rule answered as the full depth, over all runs and texts of the record."""
    found = [one for one in everything(name).values() if isinstance(one, dict) and "points" in one]
    safe = [(run["rows"], point) for run in found for point in run["points"] if point["depth"] == "safe"]
    if not safe:
        return []
    answers, other = sum(rows for rows, _ in safe), sum(point["otherwise"] for _, point in safe)
    verdict = "the law holds" if other == 0 else "**the law is broken**"
    return [
        f"The safe rule over {answers:,} answers of {len(safe)} run(s): {other} other than in full depth: {verdict}."
    ]


def seeds_of(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def promised(name: str) -> list[str]:
    """Whether time keeps what multiply-adds promise."""
    said = []
    for kind in ("qnli", "imdb"):
        found = done(name, f"clock {kind}") or {}
        for depth, one in found.items():
            if isinstance(one, dict):
                over, fine = kept_promise(one["time_share"], one["macs_share"])
                low, high = one["interval"]
                took = f"{one['time_share']:.1%} of the full depth ({low:.1%} to {high:.1%})"
                verdict = f"{100 * over:+.1f}%, goal within 15%: {reached_or_not(fine)}."
                promise = f"its multiply-adds promise {one['macs_share']:.1%}"
                said.append(f"Time on {kind}, {depth}, seed 0, batches of 32, float32: {took}, {promise}: {verdict}")
    return said


def reached_or_not(fine: bool) -> str:
    return "reached" if fine else "**short**"


# tables


def depths(ground: Mapping[str, Runs]) -> str:
    """Every depth of every arm, the means over the seeds."""
    rows = []
    for arm, found in ground.items():
        for place, first in enumerate(found[0]["points"]):
            same = [run["points"][place] for run in found]
            whole = [dense["points"][0]["macs_per_text"] for dense in ground["dense"]]
            share = statistics.mean(one["macs_per_text"] / macs for one, macs in zip(same, whole, strict=False))
            score = f"{100 * statistics.mean(one['score'] for one in same):.2f}"
            score += f" ± {100 * statistics.stdev(one['score'] for one in same):.2f}" if len(same) > 1 else ""
            ms = [f"{statistics.mean(one[f'ms_batch_{size}'] for one in same):.2f}" for size in (32, 1)]
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


# pictures


def drawn(name: str, ground: Mapping[str, Runs]) -> list[str]:
    """The pictures, as Markdown."""
    parts = []
    plain = {arm: found for arm, found in ground.items() if "narrow" not in arm}
    draw(name, "curve.png", plain)
    parts.append("![Score against multiply-adds and milliseconds, means over the seeds of the table](curve.png)")
    if COMBINED in ground:
        both = {arm: ground[arm] for arm in ground if "narrow" in arm or arm in ("dense", ADAPTIVE)}
        draw(name, "combined.png", both)
        parts.append("![Score of the combination against both, means over the seeds of the table](combined.png)")
    return parts


def draw(name: str, file: str, ground: Mapping[str, Runs]) -> None:
    """Score against the share of the multiply-adds, and against milliseconds in batches of 32 and one by one."""
    import matplotlib.pyplot as plt  # takes a second to load

    figure, all_axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained", sharey=True)
    whole = ground["dense"][0]["points"][0]["macs_per_text"]
    fields = {"macs_per_text": ("multiply-adds, % of dense", 100 / whole)}
    fields |= {f"ms_batch_{size}": (f"ms per text, batch {size}", 1.0) for size in (32, 1)}
    for axes, (field, (title, scale)) in zip(all_axes, fields.items(), strict=True):
        for number, (label, line) in enumerate(lines(ground, field).items()):
            across, scores = zip(*sorted(line), strict=True)
            colour = COLOURS.get(label, f"C{number}")
            axes.plot([scale * x for x in across], scores, "o-", markersize=4, linewidth=1.3, color=colour, label=label)
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    all_axes[0].set_ylabel("accuracy, %")
    all_axes[-1].legend(frameon=False, fontsize=8)
    figure.savefig(picture(name, file), dpi=150)
    plt.close(figure)


def lines(ground: Mapping[str, Runs], field: str) -> dict[str, list[tuple[float, float]]]:
    """(cost, score in %) of every depth, the means over the seeds; truncated encoders are one line."""
    out: dict[str, list[tuple[float, float]]] = {}
    for arm, found in ground.items():
        label = "truncated" if arm.startswith("truncated") else arm
        for place in range(len(found[0]["points"])):
            same = [run["points"][place] for run in found]
            cost = statistics.mean(one[field] for one in same)
            out.setdefault(label, []).append((cost, 100 * statistics.mean(one["score"] for one in same)))
    return out
