"""The record of benchmarks/depth.py for people: sentences on the claims, tables, pictures; of whatever is there yet."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np
from arms import listed, table
from depth_arms import ADAPTIVE, COMBINED
from depth_tables import SHARES, Chart, counted, depths, drawn, elsewhere
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
from records import done, everything, said_of_code
from ticket_steps import interval as interval_of

HALF, LOSS = 0.5, 0.005  # LOSS: on validation, of the depth that is chosen
GOALS = (3.5, 2.0, 0.01)  # of the combination: times fewer multiply-adds, times fewer ms, loss
CLS = "dense, cls"
ABOUT = """Milliseconds are of the first seed, all depths in turn; cls: the first token's state in the place of the
mean, so that the last layer computes one row."""
Runs = list[dict[str, Any]]


class Text(NamedTuple):
    """sentences: on the claims; markdown: all of it."""

    sentences: list[str]
    markdown: str


def text(name: str, seeds: int, *, arms: Sequence[str], others: Sequence[str], combined: Sequence[str]) -> Text:
    """What stands in the README; pictures are written beside it."""
    ground = {arm: found for arm in dict.fromkeys((*arms, *combined)) if (found := runs(name, f"qnli {arm}", seeds))}
    chart: Chart = done(name, "clock chart")
    said: list[str] = []
    parts: list[str] = []
    if "dense" in ground:
        said += [*claims(ground), *promised(name), *combination(ground, chart)]
        parts += [f"## QNLI (rebuilt train)\n\n{depths(ground, chart)}\n\n{ABOUT}", *drawn(name, ground, chart)]
    parts += counted(done(name, "counted"))
    if rows := [row for kind in others for row in elsewhere(name, kind)]:
        columns = ["", "metric", "dense", "full depth", "safe", "multiply-adds of safe", "at 50%", "at 75%"]
        note = "SQuAD has no adaptive form: an answer is a pair of places, for which no rule here is safe."
        parts.append(f"## Other tasks, one seed\n\n{table(columns, rows)}\n\n{note}")
    said = [*said, *law(name)] or ["The dense arm is not complete yet."]
    settings = f"Settings: {done(name, 'settings')}"
    return Text(said, "\n\n".join([settings, listed([*said, *said_of_code(everything(name))]), *parts]))


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
    said = []
    shallow = layers_of(ground, cls=False)
    if shallow:
        truncated = [joined(some) for some in zip(*shallow.values(), dense, strict=False)]
        said.append(area_said(dact, truncated, f"encoders of {', '.join(shallow)} and all layers", 1.0))
        said += claim_of_cls(ground, truncated[0])
    exits = {peer: found for peer in ("entropy", "patience") if (found := as_measured(ground, peer))}
    said += [area_said(dact, found, f"{peer} exit", HALF) for peer, found in exits.items()]
    return said + [one for share in SHARES for one in at_share(ground, share)]


def layers_of(ground: Mapping[str, Runs], *, cls: bool) -> dict[str, list[Measured]]:
    """Truncated encoders by their number of layers."""
    names = [arm for arm in ground if arm.startswith("truncated") and arm.endswith("cls") == cls]
    return {arm.split()[1].strip(","): as_measured(ground, arm) for arm in names}


def claim_of_cls(ground: Mapping[str, Runs], truncated: Measured) -> list[str]:
    """The first seed, where both sides may also read the first token alone, which makes the last layer cheap."""
    both = [as_measured(ground, arm) for arm in (f"{ADAPTIVE}, cls", CLS)]
    if not all(both):
        return []
    dact = joined([as_measured(ground, ADAPTIVE)[0], both[0][0]])
    shallow = [found[0] for found in layers_of(ground, cls=True).values()]
    floor = joined([truncated, *shallow, both[1][0]])
    return [area_said([dact], [floor], "these, where either side may also read the first token alone (cls)", 1.0)]


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


def combination(ground: Mapping[str, Runs], chart: Chart) -> list[str]:
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
    said.append(f"{fewer:.2f} times fewer multiply-adds{of_cls(ground, pairs[0][0])}, goal {macs:g}:")
    said.append(f"{reached_or_not(fewer >= macs)};")
    if chart is None:
        said.append("ms beside dense not taken yet;")
    else:
        turns = chart["32"]
        ratios = np.array(turns["dense, full"]) / np.array(turns[f"{COMBINED}, {pairs[0][0]['depth']}"])
        faster, (low, high) = float(np.median(ratios)), interval_of(ratios)
        times = f"{faster:.2f} times fewer ms ({low:.2f} to {high:.2f}) in batches of 32, in turn with dense, seed 0"
        said.append(f"{times}, goal {ms:g}: {reached_or_not(faster >= ms)};")
    within = reached_or_not(over.difference >= -loss)
    said.append(f"score {interval(over, spread)} beside dense, goal {points(-loss)}: {within}.")
    return [" ".join(said)]


def of_cls(ground: Mapping[str, Runs], point: Mapping[str, Any]) -> str:
    """Beside the dense encoder that reads the first token alone, as the combination does."""
    if CLS not in ground:
        return ""
    return f" ({ground[CLS][0]['points'][0]['macs_per_text'] / point['macs_per_text']:.2f} beside `{CLS}`, seed 0)"


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
