"""What the record of `quality.py` says, whole or partly there: tables, claims row by row, the chart."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from arms import listed, table
from goals import ABSENT
from quality_arms import BERT, FEWER, GROUPED, PRE_NORM, SHAPES, Arm, arms, at, detecting, spent
from quality_tasks import SENTENCES, TASKS
from records import describe, done, everything, picture

ENOUGH = 0.7  # nat below the unigram entropy
FROM = 300.0  # seconds: from here on a combination should be ahead of BERT
Run = Mapping[str, Any]


def runs(name: str) -> dict[str, Run]:
    """The pretraining runs of the record by their keys, without those of `widths`."""
    found = everything(name)
    return {key: one for key, one in found.items() if isinstance(one, dict) and "curve" in one and " min, " in key}


def label(run: Run) -> str:
    """The arm of a run."""
    return str(run["key"]).partition(" min, ")[2].rpartition(" ")[0]


def minutes(run: Run) -> float:
    """The time that a run was given."""
    return float(str(run["key"]).partition(" min, ")[0])


def wanted(name: str) -> dict[str, Arm]:
    """The arms that the record should have."""
    shape = SHAPES[done(name, "settings")["shape"]]
    return arms(shape) | detecting(shape)


def write(name: str) -> None:
    """README and chart from what stands in the record."""
    entropy = done(name, "unigram_entropy")
    draw(name, entropy)
    said = [
        f"Unigram entropy {entropy:.3f} nats a token: a run counts below {entropy - ENOUGH:.3f}. One recipe for all "
        "arms; the learning rate falls to 0 at the end of each run, so that points within a curve are not ends of "
        "shorter runs.",
        run_table(name, entropy),
        score_table(name),
        listed(claims(name, entropy)),
        "![Loss and scores against time](curve.png)",
    ]
    describe(name, "\n\n".join(part for part in said if part))


# tables


def run_table(name: str, entropy: float) -> str:
    """A line for each pretraining run, also for arms of the screening that were not run."""
    columns = ["run", "pattern", "10^6 multiply-adds a text", "tokens/s", "10^6 tokens", "loss", "counts from minute"]
    rows, seen = [], runs(name)
    for key, run in seen.items():
        speed = f"{run['tokens'] / run['seconds']:,.0f}"
        loss = "detects" if run["detects"] else f"{run['val_loss']:.3f}"
        shown = [f"{run['multiply_adds']:.0f}", speed, f"{run['tokens'] / 1e6:.1f}", loss, _counts(run, entropy)]
        rows.append([key, f"`{run['pattern']}`", *shown])
    there = {label(run) for run in seen.values()}
    rows += [[one, f"`{arm.pattern}`", *[ABSENT] * 5] for one, arm in wanted(name).items() if one not in there]
    return table(columns, rows)


def counts_from(run: Run, entropy: float) -> float | None:
    """The second from which on the loss is low enough; None: never, or the run has another loss."""
    low = [seconds for seconds, loss, _ in run["curve"] if loss <= entropy - ENOUGH]
    return None if run["detects"] or not low or run["val_loss"] > entropy - ENOUGH else float(low[0])


def _counts(run: Run, entropy: float) -> str:
    found = counts_from(run, entropy)
    return "" if run["detects"] else "**never**" if found is None else f"{found / 60:.1f}"


def scores(name: str) -> dict[str, dict[str, Run]]:
    """{run: {task: what fine-tuning it came to}}."""
    found = everything(name)
    return {
        key: {task: one for task in TASKS if (one := found.get(f"{task}: {key}")) is not None} for key in runs(name)
    }


def score_table(name: str) -> str:
    """Scores of the tests in percent with half their 95% interval, where anything was fine-tuned."""
    found = {key: some for key, some in scores(name).items() if some}
    if not found:
        return f"Fine-tuning: {ABSENT}."
    tasks = [task for task in TASKS if any(task in some for some in found.values())]
    rows = [[key, *(_score(some.get(task)) for task in tasks)] for key, some in found.items()]
    said = "Fine-tuned for the same updates, one seed; in percent, with half the 95% interval of the test rows alone."
    return f"{table(['run', *tasks], rows)}\n\n{said}"


def _score(one: Run | None) -> str:
    if one is None:
        return ABSENT
    half = "" if one["low"] is None else f" ± {50 * (one['high'] - one['low']):.1f}"
    return f"{100 * one['score']:.1f}{half}"


# claims


def claims(name: str, entropy: float) -> list[str]:
    """The claims of the papers, and the goal, each with whether it holds here."""
    return [*ahead(name, entropy), spread(name), quarter(name), per_flop(name), *narrow(name)]


def ahead(name: str, entropy: float) -> list[str]:
    """Is there an arm that is ahead of BERT at every time from FROM on, in the long runs as well; is one with fewer
    layers ahead of all?"""
    goal = f"A combination ahead of BERT at every time from {FROM / 60:g} minutes on"
    short = seeded(name, done(name, "settings")["minutes"])
    if BERT not in short or len(short) < 2:
        return [f"{goal}: {ABSENT}."]
    counted = {one: some for one, some in short.items() if counts_from(some[0], entropy) is not None}
    first = [one for one in counted if not one.startswith(BERT) and is_ahead(short[one], short[BERT])]
    said = [f"{goal}: {_to_the_end(name, first)}."]
    left_out = [one for one in short if one not in counted]
    said += [f"Not counted, since their loss is too high: {', '.join(left_out)}."] if left_out else []
    if counted:
        losses = {one: statistics.mean(run["val_loss"] for run in some.values()) for one, some in counted.items()}
        best = min(losses, key=losses.__getitem__)
        several = f", the mean of {len(counted[best])} seeds" if len(counted[best]) > 1 else ""
        fewer = ": **a BERT with fewer layers is ahead of all.**" if best.startswith(FEWER) else "."
        said.append(f"Lowest loss at the end of the screening: {best}, {losses[best]:.3f}{several}{fewer}")
    return said


def _to_the_end(name: str, first: Sequence[str]) -> str:
    """How far each arm that is ahead in the screening stays so: the goal is reached where one is in the long runs."""
    short, long = (done(name, "settings")[field] for field in ("minutes", "long"))
    longer = seeded(name, long)
    found = {one: is_ahead(longer[one], longer[BERT]) if {one, BERT} <= longer.keys() else None for one in first}
    words = {
        True: f"to {long:g} minutes",
        False: f"to {short:g} minutes, not to {long:g}",
        None: f"to {short:g} minutes, to {long:g} {ABSENT}",
    }
    said = "; ".join(f"{one} {words[stays]}" for one, stays in found.items())
    missed = True not in found.values() and (not found or False in found.values())
    return f"{'**short**, ' if missed else ''}{said or 'none of those that count'}"


def seeded(name: str, given: float) -> dict[str, dict[int, Run]]:
    """{arm: {seed: run}} of the runs that were given so many minutes, of the arms whose first seed ran."""
    found: dict[str, dict[int, Run]] = {}
    for run in runs(name).values():
        if minutes(run) == given and not run["detects"]:
            found.setdefault(label(run), {})[int(str(run["key"]).rpartition(" ")[2])] = run
    return {one: some for one, some in found.items() if 0 in some}


def is_ahead(some: Mapping[int, Run], others: Mapping[int, Run]) -> bool:
    """Whether a curve, the mean over the seeds that both have, lies below another at every validation from FROM (or
    their last) to their end."""
    seeds = sorted(some.keys() & others.keys())
    mine, theirs = ([found[seed] for seed in seeds] for found in (some, others))
    end = min(run["curve"][-1][0] for run in (*mine, *theirs))
    times = [point[0] for run in (*mine, *theirs) for point in run["curve"] if FROM <= point[0] <= end]
    return all(_mean_at(mine, when) < _mean_at(theirs, when) for when in times or [end])


def _mean_at(some: Sequence[Run], when: float) -> float:
    return statistics.mean(at(run, when) for run in some)


def spread(name: str) -> str:
    """Mean and deviation over the seeds, of the arms that have several."""
    found: dict[tuple[float, str], list[float]] = {}
    for run in runs(name).values():
        if not run["detects"]:
            found.setdefault((minutes(run), label(run)), []).append(run["val_loss"])
    said = [
        f"{one} {statistics.mean(losses):.3f} ± {statistics.stdev(losses):.3f} ({len(losses)} seeds, {time:g} min)"
        for (time, one), losses in found.items()
        if len(losses) > 1
    ]
    return f"Loss over seeds: {'; '.join(said)}." if said else f"Several seeds: {ABSENT}."


def mean_score(some: Mapping[str, Run], tasks: Sequence[str] | None = None) -> float | None:
    """The mean over the tasks; None where one of them is missing."""
    wanted = list(TASKS)[:-1] if tasks is None else tasks
    return None if any(task not in some for task in wanted) else statistics.mean(some[task]["score"] for task in wanted)


def quarter(name: str) -> str:
    """ConvBERT with detection of replaced tokens at a quarter of BERT's time."""
    claim = "Equal score at a quarter of the cost (ConvBERT, replaced tokens, beside BERT)"
    found = {key: mean for key, some in scores(name).items() if (mean := mean_score(some)) is not None}
    for key, own in found.items():
        run = runs(name)[key]
        for other, bert in found.items():
            if run["detects"] and label(runs(name)[other]) == BERT and minutes(runs(name)[other]) == 4 * minutes(run):
                holds = "holds here" if own >= bert else "does **not** hold here"
                said = f"{100 * own:.1f} after {minutes(run):g} minutes, {100 * bert:.1f} after {4 * minutes(run):g}"
                return f"{claim}: {holds}; mean of the tasks {said}, one seed."
    return f"{claim}: {ABSENT}."


def per_flop(name: str) -> str:
    """GroupBERT beside a pre-norm BERT, at equal multiply-adds, at every width that is whole."""
    found = everything(name)
    widths = sorted({one["dim"] for key, one in found.items() if key.startswith("width ")})
    said, lower = [], []
    for dim in widths:
        pair = [found.get(f"width {dim}, {family}") for family in (PRE_NORM, GROUPED)]
        if None not in pair:
            (bert, group) = pair
            lower.append(group["val_loss"] < bert["val_loss"])
            took = f"{spent(group):.0f} and {spent(bert):.0f} 10^12 multiply-adds"
            time = f"{group['seconds'] / 60:.1f} and {bert['seconds'] / 60:.1f} minutes"
            losses = f"{group['val_loss']:.3f} beside {bert['val_loss']:.3f}"
            said.append(f"width {dim}: {losses} ({took}, {time}, rates {group['lr']:g} and {bert['lr']:g})")
    claim = "Lower loss per multiply-add at three scales (GroupBERT beside BERT, pre-norm, both tuned)"
    if len(lower) < 3:
        return f"{claim}: {ABSENT if not said else '; '.join([*said, 'other widths ' + ABSENT])}."
    return f"{claim}: {'holds here' if all(lower) else 'does **not** hold here'}; {'; '.join(said)}."


def narrow(name: str) -> list[str]:
    """Each narrow arm beside BERT of the same minutes, task by task: ahead, behind, or within both intervals."""
    found, seen = scores(name), runs(name)
    said = []
    for key, some in found.items():
        run = seen[key]
        other = found.get(f"{minutes(run):g} min, {BERT} 0", {})
        if ":" in run["pattern"] and key.endswith(" 0") and (tasks := [task for task in some if task in other]):
            each = [f"{task} {apart(some[task], other[task])}" for task in tasks]
            behind = [task for task in tasks if "behind" in apart(some[task], other[task])]
            sentences = [task for task in tasks if task in SENTENCES]
            equal = not any(task in behind for task in sentences)
            verdict = "not behind on sentences" if equal else "**behind on sentences**"
            hurt = [task for task in behind if task not in SENTENCES]
            verdict += f", hurt on {', '.join(hurt)}" if hurt else ""
            said.append(f"{key} beside {BERT}: {verdict}; {', '.join(each)}.")
    questions = any("SQuAD" in some for some in found.values())
    return [
        *(said or [f"Narrow beside BERT, task by task: {ABSENT}."]),
        *([] if questions else [f"Questions: {ABSENT}."]),
    ]


def apart(one: Run, other: Run) -> str:
    """The difference in points, and whether the intervals lie apart."""
    points = 100 * (one["score"] - other["score"])
    known = None not in (one["low"], one["high"], other["low"], other["high"])
    sure = known and (one["low"] > other["high"] or one["high"] < other["low"])
    return f"{points:+.1f} ({'ahead' if points > 0 else 'behind'})" if sure else f"{points:+.1f}"


# the chart


def draw(name: str, entropy: float) -> None:
    """Loss against minutes of training, and the mean score of the tasks against minutes of pretraining."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    colours = {one: f"C{place % 10}" for place, one in enumerate(wanted(name))}
    named: set[str] = set()
    found = scores(name)
    for key, run in runs(name).items():
        one = label(run)
        style: dict[str, Any] = {"color": colours[one], "label": None if one in named else one}
        if not run["detects"]:
            curve = np.array(run["curve"], dtype=float)
            left.plot(
                curve[:, 0] / 60, curve[:, 1], linewidth=1.6, linestyle="--" if one.startswith(FEWER) else "-", **style
            )
            named.add(one)
        mean = mean_score(found[key])
        if mean is not None:
            right.scatter([minutes(run)], [100 * mean], color=colours[one])
            right.annotate(one, (minutes(run), 100 * mean), fontsize=7, xytext=(4, 2), textcoords="offset points")
    left.axhline(entropy - ENOUGH, color="#888", linestyle=":", linewidth=1, label=f"{ENOUGH} nat below unigrams")
    left.set_ylabel("validation loss, nats per predicted token")
    right.set_ylabel("mean score of the tasks, %")
    left.legend(frameon=False, fontsize=7, ncols=2)
    for axes, said in ((left, "minutes of training"), (right, "minutes of pretraining")):
        axes.set_xlabel(said)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(picture(name, "curve.png"), dpi=150)
    plt.close(figure)
