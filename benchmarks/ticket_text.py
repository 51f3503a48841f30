"""The record of benchmarks/tickets.py for people: sentences on the claims, tables, a picture; of what is there yet."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from arms import listed
from records import done, everything, said_of_code
from ticket_curves import curves_of, said_of, shown
from ticket_steps import KINDS
from ticket_tables import arm_table, control_table, other_table, share, step_table, time_table, unit_table
from ticket_verdicts import (
    CONTROLS,
    GOALS,
    KEPT,
    PEERS,
    Ground,
    of_allowed,
    plain,
    points,
    r_of,
    reached,
    said_apart,
    said_of_search,
    saved,
    whole_by_seed,
)

STEP, FASTER = "steps bert_base float32", 1.45
ENTROPY = "unigram_entropy"
MEASURED_BY_R, LOSS = ("ticket", "ticket, continue"), 0.01  # must keep KEPT of what r allows, and lose LOSS at most
ABOUT_QNLI = """Scores are means over the seeds ± deviation, shares of time are medians; each stands beside the dense
run of its seed. r is the time of an update over that of dense, both in turn on the same batches;
1 - (updates of search + r × those of the ticket) / those of dense is what it allows. What is saved counts the search as
dear as it is, and the draw. Whole runs lie hours apart, and other work may have run beside them. MiniLM has seen SQuAD,
of which QNLI is made: only differences between arms mean anything."""
NO_BFLOAT16 = "bfloat16 is not measured: this processor does not multiply it."


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
    runs = {
        arm: {seed: run for seed in range(wanted.seeds) if (run := found.get(f"qnli {arm} {seed}"))}
        for arm in wanted.arms
    }
    ground = Ground(runs, found.get("times qnli"), wanted.epochs)
    figures = of_arms(ground)
    said = [*of_steps(found), *of_qnli(figures, ground), *said_of(curves_of(found, wanted.pretrained))]
    without = NO_BFLOAT16 * (not any("bfloat16" in key for key in wanted.keys["steps"]))
    tables = [arm_table(figures), control_table(ground), unit_table(ground), ABOUT_QNLI * bool(figures)]
    curves = shown(name, found, wanted.pretrained, wanted.tasks, entropy=found.get(ENTROPY))
    sections = {
        "steps": ("A step of [8, 128]", [step_table(found), without]),
        "times": ("Updates of fine-tuning, in turn on the same batches", [time_table(found, wanted.keys["times"])]),
        "qnli": ("QNLI (rebuilt train)", tables),
        "others": ("Other tasks, one seed", [other_table(found, wanted.others, wanted.epochs)]),
        "pretraining": ("Pretraining, one seed", curves[:-1]),
        "tuned": ("Fine-tuning behind it, one seed", curves[-1:]),
    }
    settings = done(name, "settings")
    parts = [f"Settings: {json.dumps(settings)}"] if settings else []
    parts += [listed([*(said or ["Nothing that a claim is about is measured yet."]), *said_of_code(found)])]
    for part, (title, body) in sections.items():
        left = [f"`{key}`" for key in wanted.keys[part] if key not in found]
        note = f"Not measured yet: {', '.join(left)}." if len(left) < len(wanted.keys[part]) else "Not measured yet."
        parts += [f"## {title}", *(one for one in (*body, note * bool(left)) if one)]
    return Text(said, figures, "\n\n".join(parts))


def of_steps(found: Mapping[str, Any]) -> list[str]:
    said = []
    for kind in KINDS if STEP in found else ():
        times, (low, high) = found[STEP][kind]["times_as_fast"], found[STEP][kind]["interval"]
        how = f"{times:.2f} times as fast as dense (95% interval {low:.2f} to {high:.2f})"
        verdict = f"goal {FASTER:g}: {reached(times >= FASTER)}."
        said.append(f"The default ticket, base size, float32, [8, 128]: {kind} {how}, {verdict}")
    return said


# QNLI


def of_arms(ground: Ground) -> dict[str, Any]:
    """Of every arm, over the seeds that have a dense run: score, difference to dense, time; and to its own peers."""
    out: dict[str, Any] = {}
    dense = ground.of("dense")
    for arm, runs in ground.runs.items():
        beside = {seed: run for seed, run in runs.items() if seed in dense}
        over, far = ground.over(arm, "dense"), saved(beside, dense, ground.pace(arm), epochs=ground.epochs)
        if over is None or far is None:
            continue
        scores = [run["score"] for run in beside.values()]
        out[arm] = {
            "seeds": over.seeds,
            "score": statistics.mean(scores),
            "deviation": statistics.stdev(scores) if len(scores) > 1 else None,
            **plain(far),
            "whole_by_seed": whole_by_seed(beside, dense),
            "why": [run["why"] for run in beside.values() if run.get("search_updates")],
            "over": {"dense": plain(over)},
        }
        for peer in PEERS.get(arm, ()):
            if (other := ground.over(arm, peer)) is not None:
                out[arm]["over"][peer] = plain(other)
    return out


def of_qnli(figures: Mapping[str, Any], ground: Ground) -> list[str]:
    """The claims on fine-tuning, in the order of the issue."""
    return [
        *(claim(arm, figures[arm], ground) for arm in GOALS if arm in figures),
        *(short_dense(figures, ground) if "dense, short" in figures else ()),
        *controls(ground),
    ]


def claim(arm: str, one: Mapping[str, Any], ground: Ground) -> str:
    goal, over, pace = GOALS[arm], ground.over(arm, "dense"), ground.pace(arm)
    assert over is not None
    whole = f"whole runs {', '.join(share(value) for value in one['whole_by_seed'])}"
    if pace is None:
        return f"{arm}: updates are not timed yet, {whole} of the time saved; score {said_apart(over)} beside dense."
    said = f"{arm}: {share(one['saved'])} ({share(one['low'])} to {share(one['high'])}) of the time of dense saved, "
    said += f"search included, {seeds_of(one['seeds'])}, goal {goal:.0%}: {reached(one['saved'] >= goal)}; {whole}; "
    if arm not in MEASURED_BY_R:
        return said + f"score {said_apart(over)} beside dense."
    kept = ", ".join(share(value, 0) for value in of_allowed(ground.of(arm), ground.of("dense"), pace))
    said += f"r = {r_of(pace)} allows {share(one['allowed'])}, of which {kept} by seed, "
    said += f"goal {KEPT:.0%}: {reached(one['margin'] >= 0)}; score {said_apart(over)} beside dense, "
    return said + f"goal {points(-LOSS)}: {reached(over.mean >= -LOSS)}."


def short_dense(figures: Mapping[str, Any], ground: Ground) -> list[str]:
    """What the shorter schedule does without a ticket, and what the ticket adds to it."""
    one, over = figures["dense, short"], ground.over("dense, short", "dense")
    assert over is not None
    saves = "updates not timed yet" if one["saved"] is None else f"{share(one['saved'])} saved without any ticket"
    said = [f"dense, short: {saves}, score {said_apart(over)} beside dense."]
    if (beside := ground.over("ticket, short", "dense, short")) is not None:
        said.append(f"ticket, short beside dense, short: score {said_apart(beside)}.")
    return said


def controls(ground: Ground) -> list[str]:
    pairs = [(peer, ground.over("ticket", peer)) for peer in CONTROLS]
    return [f"ticket over {peer}: {said_apart(over)}: {said_of_search(over)}." for peer, over in pairs if over]


def seeds_of(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"
