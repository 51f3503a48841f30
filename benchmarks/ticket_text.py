"""The record of benchmarks/tickets.py for people: tables, verdicts, a picture; of whatever is there yet."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from arms import listed, table
from records import done, everything
from ticket_curves import curves_of, said_of, shown
from ticket_steps import KINDS
from ticket_verdicts import (
    KEPT,
    Runs,
    Saved,
    apart,
    medians,
    plain,
    points,
    reached,
    said_apart,
    said_of_search,
    saved_by_seed,
)

STEP, FASTER = "steps bert_base float32", 1.45
GOALS = {"ticket": 0.22, "ticket, continue": 0.27, "ticket, short": 0.40, "strong": 0.35}  # of the time of dense
MEASURED_BY_R, LOSS = ("ticket", "ticket, continue"), 0.01  # must keep KEPT of what r allows, and lose LOSS at most
PEERS = {"ticket, short": ("dense, short",), "ticket": ("random", "equal", "magnitude")}
CONTROLS = PEERS["ticket"]
ABOUT_QNLI = """Scores are means over the seeds ± deviation, times are medians; each stands beside the dense run of its
seed. r is the time of an update over that of dense; 1 - (updates of search + r × those of the ticket) / those of dense
is what it allows. MiniLM has seen SQuAD, of which QNLI is made: only differences between arms mean anything."""


class Wanted(NamedTuple):
    """What a whole record has. arms: of QNLI; others: other tasks; pretrained: arms, behind each of which `tasks` are
    fine-tuned; keys: all keys, by part."""

    seeds: int
    epochs: float
    arms: tuple[str, ...]
    others: tuple[str, ...]
    pretrained: tuple[str, ...]
    tasks: tuple[str, ...]
    keys: Mapping[str, Sequence[str]]


class Text(NamedTuple):
    """sentences: on the claims; figures: those of QNLI they are made from; markdown: all of it."""

    sentences: list[str]
    figures: dict[str, Any]
    markdown: str


def text(name: str, wanted: Wanted) -> Text:
    """What stands in the README; the picture is written beside it."""
    found = everything(name)
    ground = {
        arm: {seed: run for seed in range(wanted.seeds) if (run := found.get(f"qnli {arm} {seed}"))}
        for arm in wanted.arms
    }
    figures = of_arms(ground, wanted.epochs)
    said = [*of_steps(found), *of_qnli(figures, ground), *said_of(curves_of(found, wanted.pretrained))]
    sections = {
        "steps": ("A step of [8, 128]", [step_table(found)]),
        "qnli": ("QNLI (rebuilt train)", [arm_table(figures), control_table(ground), ABOUT_QNLI * bool(figures)]),
        "others": ("Other tasks, one seed", [other_table(found, wanted.others)]),
        "pretraining": ("Pretraining, one seed", shown(name, found, wanted.pretrained, wanted.tasks)),
    }
    settings = done(name, "settings")
    parts = [f"Settings: {json.dumps(settings)}"] if settings else []
    parts += [listed(said or ["Nothing that a claim is about is measured yet."])]
    for part, (title, body) in sections.items():
        left = [f"`{key}`" for key in wanted.keys[part] if key not in found]
        note = f"Not measured yet: {', '.join(left)}." if len(left) < len(wanted.keys[part]) else "Not measured yet."
        parts += [f"## {title}", *(one for one in (*body, note * bool(left)) if one)]
    return Text(said, figures, "\n\n".join(parts))


# a step


def of_steps(found: Mapping[str, Any]) -> list[str]:
    said = []
    for kind in KINDS if STEP in found else ():
        times, (low, high) = found[STEP][kind]["times_as_fast"], found[STEP][kind]["interval"]
        how = f"{times:.2f} times as fast as dense (95% interval {low:.2f} to {high:.2f})"
        verdict = f"goal {FASTER:g}: {reached(times >= FASTER)}."
        said.append(f"The default ticket, base size, float32, [8, 128]: {kind} {how}, {verdict}")
    return said


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


# QNLI


def of_arms(ground: Mapping[str, Runs], epochs: float) -> dict[str, Any]:
    """Of every arm, over the seeds that have a dense run: score, difference to dense, time; and to its own peers."""
    out: dict[str, Any] = {}
    dense = ground.get("dense", {})
    for arm, runs in ground.items():
        beside = {seed: run for seed, run in runs.items() if seed in dense}
        over = apart(beside, dense)
        if over is None:
            continue
        scores = [run["score"] for run in beside.values()]
        each = saved_by_seed(beside, dense, epochs=epochs)
        out[arm] = {
            "seeds": over.seeds,
            "score": statistics.mean(scores),
            "deviation": statistics.stdev(scores) if len(scores) > 1 else None,
            "seconds": statistics.median(run["update_seconds"] for run in beside.values()),
            **medians(each)._asdict(),
            "by_seed": [one._asdict() for one in each],
            "why": [run["why"] for run in beside.values() if run.get("search_updates")],
            "over": {"dense": plain(over)},
        }
        for peer in PEERS.get(arm, ()):
            if (other := apart(runs, ground.get(peer, {}))) is not None:
                out[arm]["over"][peer] = plain(other)
    return out


def of_qnli(figures: Mapping[str, Any], ground: Mapping[str, Runs]) -> list[str]:
    """The claims on fine-tuning, in the order of the issue."""
    return [
        *(claim(arm, figures[arm], ground) for arm in GOALS if arm in figures),
        *(short_dense(figures, ground) if "dense, short" in figures else ()),
        *controls(ground),
    ]


def claim(arm: str, one: Mapping[str, Any], ground: Mapping[str, Runs]) -> str:
    goal, over = GOALS[arm], apart(ground[arm], ground["dense"])
    assert over is not None
    said = f"{arm}: {one['saved']:.1%} of the time of dense saved, search included, {seeds_of(one['seeds'])}, "
    said += f"goal {goal:.0%}: {reached(one['saved'] >= goal)}; "
    if arm in MEASURED_BY_R:
        said += f"r = {one['ratio']:.3f} allows {one['allowed']:.1%}, of which {of_allowed(one['by_seed'])} by seed, "
        said += f"goal {KEPT:.0%}: {reached(one['margin'] >= 0)}; score {said_apart(over)} beside dense, "
        return said + f"goal {points(-LOSS)}: {reached(over.mean >= -LOSS)}."
    return said + f"score {said_apart(over)} beside dense."


def of_allowed(each: Iterable[Mapping[str, Any]]) -> str:
    """The share of what r allows that was saved, seed by seed."""
    shares = [one["saved"] / one["allowed"] if one["allowed"] > 0 else math.nan for one in each]
    return ", ".join("-" if math.isnan(share) else f"{share:.0%}" for share in shares)


def short_dense(figures: Mapping[str, Any], ground: Mapping[str, Runs]) -> list[str]:
    """What the shorter schedule does without a ticket, and what the ticket adds to it."""
    one, over = figures["dense, short"], apart(ground["dense, short"], ground["dense"])
    assert over is not None
    said = [f"dense, short: {one['saved']:.1%} saved without any ticket, score {said_apart(over)} beside dense."]
    if (beside := apart(ground.get("ticket, short", {}), ground["dense, short"])) is not None:
        said.append(f"ticket, short beside dense, short: score {said_apart(beside)}.")
    return said


def controls(ground: Mapping[str, Runs]) -> list[str]:
    pairs = [(peer, apart(ground.get("ticket", {}), ground.get(peer, {}))) for peer in CONTROLS]
    return [f"ticket over {peer}: {said_apart(over)}: {said_of_search(over)}." for peer, over in pairs if over]


def arm_table(figures: Mapping[str, Any]) -> str:
    rows = []
    for arm, one in figures.items():
        spread = "" if one["deviation"] is None else f" ± {100 * one['deviation']:.2f}"
        cells = [f"{100 * one['score']:.2f}{spread}", f"{one['seconds']:,.0f}"]
        over, far = one["over"]["dense"], Saved(*(one[field] for field in Saved._fields))
        if arm == "dense":
            cells += [""] * 6
        else:
            apart_by = "" if over["deviation"] is None else f" ± {100 * over['deviation']:.2f}"
            goal = f"{GOALS[arm]:.0%}" if arm in GOALS else ""
            cells += [f"{points(over['mean'])}{apart_by}", f"{far.saved:.1%}", f"{far.allowed:.1%}", goal]
            cells += [f"{far.ratio:.3f}", f"{far.searched:.3f}"]
        rows.append([arm, *cells, str(one["seeds"])])
    columns = ["accuracy, %", "seconds", "over dense, points", "time saved", "allowed by r", "goal", "r"]
    return table(["", *columns, "epochs of search", "seeds"], rows) if rows else ""


def control_table(ground: Mapping[str, Runs]) -> str:
    rows = []
    for arm, peers in PEERS.items():
        for peer in peers:
            if (over := apart(ground.get(arm, {}), ground.get(peer, {}))) is not None:
                far = [over.deviation, over.low, over.high]
                cells = ["" if math.isnan(value) else f"{100 * value:.2f}" for value in far]
                rows.append([f"{arm} over {peer}", points(over.mean), *cells, str(over.seeds)])
    return table(["", "points", "deviation", "95% from", "to", "seeds"], rows) if rows else ""


def seeds_of(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


# other tasks


def other_table(found: Mapping[str, Any], tasks: Iterable[str]) -> str:
    rows = []
    for kind in tasks:
        dense, ticket = (found.get(f"{kind} {arm} 0") for arm in ("dense", "ticket"))
        if dense and ticket:
            scores = [f"{100 * one['score']:.2f}" for one in (dense, ticket)]
            seconds = [f"{one['update_seconds']:,.0f}" for one in (dense, ticket)]
            saved = 1 - ticket["update_seconds"] / dense["update_seconds"]
            apart_by = points(ticket["score"] - dense["score"])
            searched = f"{ticket['search_updates']} updates, {ticket['why']}"
            rows.append([kind, dense["metric"], *scores, apart_by, *seconds, f"{saved:.1%}", searched])
    columns = ["metric", "dense, %", "ticket, %", "points", "dense, seconds", "ticket, seconds", "time saved", "search"]
    return table(["", *columns], rows) if rows else ""
