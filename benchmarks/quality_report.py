"""The record of `quality.py` for people, whole or partly there: tables, claims, the chart."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from arms import listed, table
from goals import ABSENT
from quality_arms import BERT, EVALUATE, FEWER
from quality_curves import FROM, beside
from quality_record import ENOUGH, bar, by_seed, counts_from, mean_score, minutes, runs, scores, wanted
from quality_speeds import seconds, tokens_per_second, unsteady, validating
from quality_tasks import FIVE, TASKS
from quality_verdicts import claims
from records import describe, done, picture


def write(name: str) -> None:
    """README and chart from what stands in the record."""
    entropy = done(name, "unigram_entropy")
    draw(name)
    about = (
        "Minutes are updates times the seconds of one, measured for all arms in turn on a quiet machine; they hold no "
        "validation and no checkpoint. The runs themselves were timed by no clock."
    )
    counting = (
        f"Unigram entropy {entropy:.3f} nats a token: a run counts below {bar(name):.3f}. One recipe for all arms; the "
        "learning rate falls to 0 at the end of each run, so that points within a curve are not ends of shorter runs."
    )
    said = [about, speed_table(name), counting, run_table(name), beside_table(name), score_table(name)]
    described = [*said, listed(claims(name)), "![Loss and scores against time](curve.png)"]
    describe(name, "\n\n".join(part for part in described if part))


def speed_table(name: str) -> str:
    """A line for each arm that was timed."""
    speeds = done(name, "speeds")
    if speeds is None:
        return f"Speeds: {ABSENT}."
    columns = ["arm", "10^6 multiply-adds a text", "ms an update", "tokens/s", "time beside BERT", "validation, %"]
    rows = []
    for label in speeds["updates"]:
        low, high = speeds["intervals"][label]
        spent = seconds(speeds, label)
        beside_bert = f"{spent / seconds(speeds, BERT):.3f} ({low:.3f} to {high:.3f})"
        shown = [f"{speeds['multiply_adds'][label]:.0f}", f"{1000 * spent:,.0f}"]
        shown += [f"{tokens_per_second(speeds, label):,.0f}", beside_bert, f"{100 * validating(speeds, label):.1f}"]
        rows.append([label, *shown])
    before, after = speeds["gemm_tflops"]
    rounds = len(speeds["updates"][BERT]["seconds"])
    said = (
        f"Updates of {speeds['tokens']:,} tokens, {rounds} rounds, {speeds['precision']}; matrix product {before:.3f} "
        f"TFLOP/s before, {after:.3f} after. Beside the ratio stands the 95% interval of its median. The last column: "
        f"what a validation after every {EVALUATE} updates would add."
    )
    return "\n\n".join(part for part in (table(columns, rows), said, unsteady(speeds)) if part)


def run_table(name: str) -> str:
    """A line for each pretraining run, also for arms that were not run."""
    columns = ["run", "pattern", "10^6 multiply-adds a text", "10^6 tokens", "loss", "counts from minute"]
    rows, seen = [], runs(name)
    for key, run in seen.items():
        from_ = counts_from([run], bar(name))
        counted = "" if run.detects else "**never**" if from_ is None else f"{from_:.1f}"
        loss = "detects" if run.detects else f"{run.loss:.3f}"
        shown = [f"{run.found['multiply_adds']:.0f}", f"{run.found['tokens'] / 1e6:.1f}", loss, counted]
        rows.append([key, f"`{run.found['pattern']}`", *shown])
    there = {run.label for run in seen.values()}
    rows += [[one, f"`{arm.pattern}`", *[ABSENT] * 4] for one, arm in wanted(name).items() if one not in there]
    return table(columns, rows)


def beside_table(name: str) -> str:
    """A line for each arm that has a curve beside BERT's."""
    columns = ["beside BERT", "seeds", "told from minute", "lower before", "least lead", "lead at the end", ""]
    rows = []
    for given in (minutes(name)["screening"], minutes(name)["long"]):
        for label in by_seed(name, given):
            one = None if label == BERT else beside(name, label, given)
            if one is not None:
                before = f"{sum(lead.lead > 0 for lead in one.before)} of {len(one.before)}"
                least = min(one.after, key=lambda lead: lead.lead, default=None)
                shown = ["", "", ""]
                if one.since is not None and least is not None:
                    shown = [f"{one.since:.1f}", before, f"{least.lead:+.3f} (minute {least.minute:.1f})"]
                end = f"{one.leads[-1].lead:+.3f}"
                rows.append([f"{given:g} min, {label}", str(one.seeds), *shown, end, one.verdict])
    said = (
        f"Leads in nats, of means over the seeds that both have, from the later of minute {FROM:g} and the first at "
        "which one of the two counts. Lower before: at how many validations between the two."
    )
    return f"{table(columns, rows)}\n\n{said}" if rows else f"Curves beside BERT: {ABSENT}."


def score_table(name: str) -> str:
    """Scores of the tests in percent with half their 95% interval, where anything was fine-tuned."""
    found = {key: some for key, some in scores(name).items() if some}
    if not found:
        return f"Fine-tuning: {ABSENT}."
    tasks = [task for task in TASKS if any(task in some for some in found.values())]
    rows = [[key, *(_score(some.get(task)) for task in tasks)] for key, some in found.items()]
    said = "Fine-tuned for the same updates, one seed; in percent, with half the 95% interval of the test rows alone."
    return f"{table(['run', *tasks], rows)}\n\n{said}"


def _score(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ABSENT
    half = "" if one["low"] is None else f" ± {50 * (one['high'] - one['low']):.1f}"
    return f"{100 * one['score']:.1f}{half}"


def draw(name: str) -> None:
    """Loss against minutes of training, and the mean score of the tasks against minutes of pretraining."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    colours = {one: f"C{place % 10}" for place, one in enumerate(wanted(name))}
    named: set[str] = set()
    found = scores(name)
    for key, run in runs(name).items():
        one = run.label
        style: dict[str, Any] = {"color": colours[one], "label": None if one in named else one}
        if not run.detects:
            dashed = "--" if one.startswith(FEWER) else "-"
            left.plot(run.curve[:, 0], run.curve[:, 1], linewidth=1.6, linestyle=dashed, **style)
            named.add(one)
        mean = mean_score(found[key], FIVE)
        if mean is not None:
            right.scatter([run.given], [100 * mean], color=colours[one])
            right.annotate(one, (run.given, 100 * mean), fontsize=7, xytext=(4, 2), textcoords="offset points")
    left.axhline(bar(name), color="#888", linestyle=":", linewidth=1, label=f"{ENOUGH} nat below unigrams")
    left.set_ylabel("validation loss, nats per predicted token")
    right.set_ylabel("mean score of the tasks, %")
    left.legend(frameon=False, fontsize=7, ncols=2)
    for axes, said in ((left, "minutes of training"), (right, "minutes of pretraining")):
        axes.set_xlabel(said)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(picture(name, "curve.png"), dpi=150)
    plt.close(figure)
