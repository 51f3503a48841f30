"""Tables of the record of benchmarks/tickets.py."""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from arms import table
from ticket_steps import KINDS
from ticket_verdicts import GOALS, PEERS, Ground, apart, overlap, pace_of, points, r_of, saved

ABSENT = "not timed"
ABOUT_UNITS = "Units that stay in common: Jaccard index, the mean over pairs of seeds. Information, no goal."


def step_table(found: Mapping[str, Any]) -> str:
    rows = []
    for key in [key for key in found if key.startswith("steps ")]:
        one, cells = found[key], []
        for kind in KINDS:
            low, high = one[kind]["interval"]
            cells += [f"{1000 * one[f'{arm} {kind}']['median']:,.1f}" for arm in ("dense", "ticket")]
            cells.append(f"{one[kind]['times_as_fast']:.2f} ({low:.2f} to {high:.2f})")
        cells += [f"{one['search_over_dense']:.2f}", f"{one['multiply_adds']:.2f}", f"{one['gemm_tflops']:.3f}"]
        rows.append([key.removeprefix("steps "), *cells])
    columns = [f"{kind}{of}" for kind in KINDS for of in (": dense, ms", ": ticket, ms", ": times as fast")]
    columns += ["update of the search over dense", "multiply-adds of the layers, dense over ticket", "TFLOP/s then"]
    return table(["", *columns], rows) if rows else ""


def time_table(found: Mapping[str, Any], keys: Iterable[str]) -> str:
    """What updates in turn took."""
    rows = []
    for key in [key for key in keys if key in found]:
        one = found[key]
        paces = [pace_of(one, arm) if arm in one else None for arm in ("ticket", "strong")]
        search = "" if paces[0] is None else f"{paces[0].search[0]:.3f}"
        cells = [f"{1000 * statistics.mean(one['dense']['seconds']):,.0f}", search]
        cells += ["" if pace is None else r_of(pace) for pace in paces]
        rows.append([key.removeprefix("times "), *cells, f"{one['between']:.1f}", str(one["rounds"])])
    columns = ["dense, ms", "search over dense", "r, ticket", "r, strong", "to draw, seconds", "rounds"]
    return table(["", *columns], rows) if rows else ""


def arm_table(figures: Mapping[str, Any]) -> str:
    rows = []
    for arm, one in figures.items():
        cells = [f"{100 * one['score']:.2f}{deviation(one)}"]
        if arm == "dense":
            cells += [""] * 7
        else:
            over = one["over"]["dense"]
            cells += [f"{points(over['mean'])}{deviation(over)}", share(one["saved"]), share(one["allowed"])]
            cells.append(f"{GOALS[arm]:.0%}" if arm in GOALS else "")
            cells += [ABSENT if one["ratio"] is None else f"{one['ratio']:.3f}", share(one["whole"])]
            cells.append(f"{one['searched']:.3f}{why(one['why'])}")
        rows.append([arm, *cells, str(one["seeds"])])
    columns = ["accuracy, %", "over dense, points", "time saved", "allowed by r", "goal", "r", "saved by whole runs"]
    return table(["", *columns, "epochs of search", "seeds"], rows) if rows else ""


def control_table(ground: Ground) -> str:
    """Differences with both intervals."""
    rows = []
    for arm, peers in PEERS.items():
        for peer in peers:
            if (over := ground.over(arm, peer)) is not None:
                far = [over.deviation, over.low, over.high, over.rows_low, over.rows_high]
                cells = ["" if math.isnan(value) else f"{100 * value:.2f}" for value in far]
                rows.append([f"{arm} over {peer}", points(over.mean), *cells, str(over.seeds)])
    columns = ["points", "deviation", "over seeds: 95% from", "to", "over rows: 95% from", "to", "seeds"]
    return table(["", *columns], rows) if rows else ""


def unit_table(ground: Ground) -> str:
    """How far tickets of other seeds are the same."""
    rows = []
    for arm in ground.runs:
        both = [overlap(ground.of(arm), kind) for kind in ("heads", "neurons")]
        if None not in both:
            rows.append([arm, *(f"{value:.3f}" for value in both if value is not None)])
    return f"{ABOUT_UNITS}\n\n{table(['', 'heads', 'neurons'], rows)}" if rows else ""


def other_table(found: Mapping[str, Any], tasks: Iterable[str], epochs: float) -> str:
    rows = []
    for kind in tasks:
        dense, ticket = (found.get(f"{kind} {arm} 0") for arm in ("dense", "ticket"))
        if dense and ticket:
            over = apart({0: ticket}, {0: dense})
            far = saved({0: ticket}, {0: dense}, pace_of(found.get(f"times {kind}"), "ticket"), epochs=epochs)
            assert over is not None and far is not None
            sure = "" if math.isnan(over.rows_low) else f" ({points(over.rows_low)} to {points(over.rows_high)})"
            scores = [f"{100 * one['score']:.2f}" for one in (dense, ticket)]
            times = [share(far.saved), share(far.allowed), share(far.whole)]
            searched = f"{far.searched:.3f}{why([ticket['why']])}"
            rows.append([kind, dense["metric"], *scores, f"{points(over.mean)}{sure}", *times, searched])
    columns = ["metric", "dense, %", "ticket, %", "points (95% over the rows)", "time saved", "allowed by r"]
    return table(["", *columns, "saved by whole runs", "epochs of search"], rows) if rows else ""


def share(value: float | None, digits: int = 1) -> str:
    """A share in percent."""
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}%}"


def why(words: Iterable[str]) -> str:
    """` (detected)`: why tickets were drawn when they were."""
    found = dict.fromkeys(words)
    return f" ({', '.join(found)})" if found else ""


def deviation(one: Mapping[str, Any]) -> str:
    return "" if one["deviation"] is None else f" ± {100 * one['deviation']:.2f}"
