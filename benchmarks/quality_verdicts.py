"""What a record of `quality.py` says of the claims of the papers, and of the goal: each holds here, does not, or has no
verdict yet.

No verdict where a run does not count, since all encoders are alike before. Two losses differ where they lie further
apart than the seeds do (`Spread.margin`), two scores where their 95% intervals lie apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from goals import ABSENT
from quality_arms import BERT, FAMILIES, FEWER, controls, detecting, spent
from quality_curves import AHEAD, BEHIND, UNCOUNTED, UNSURE, goal, shared, told
from quality_record import (
    TRIED,
    Run,
    bar,
    by_seed,
    counts,
    mean_loss,
    mean_score,
    minutes,
    ranked,
    run_key,
    runs,
    scores,
    shape,
    spread,
    width_key,
)
from quality_speeds import tokens_per_second
from quality_tasks import FIVE, QUESTIONS, SENTENCES
from records import done, everything

Scored = Mapping[str, Mapping[str, Any]]  # by task


def claims(name: str) -> list[str]:
    """A sentence for each."""
    said = [goal(name), *uncounted(name), *lowest(name), *pairs(name), deviations(name), quarter(name), per_flop(name)]
    return [*said, *by_task(name), *questions(name)]


def uncounted(name: str) -> list[str]:
    below = bar(name)
    found = [run.key for run in runs(name).values() if not run.detects and not counts(run, below)]
    return [f"Not counted, since their loss is too high: {'; '.join(found)}."] if found else []


# losses


def lowest(name: str) -> list[str]:
    """The arm of the lowest loss, and where it is a BERT, the combination of the lowest."""
    losses, _ = ranked(name, minutes(name)["screening"])
    order = [label for label, _ in losses]
    if len(order) < 2:
        return [f"Lowest loss: {ABSENT}."]
    said = [_leads(name, "Lowest loss", order)]
    combinations = [label for label in order if not label.startswith(BERT)]
    if order[0].startswith(BERT) and len(combinations) > 1:
        said.append(_leads(name, "Lowest loss of a combination", combinations))
    return said


def _leads(name: str, what: str, order: Sequence[str]) -> str:
    """By how much the first of these arms leads the second, over the seeds that both have."""
    given, known = minutes(name)["screening"], spread(name)
    best, second = order[:2]
    found = by_seed(name, given)
    mine, theirs = shared(found[best], found[second])
    lead, seeds = mean_loss(theirs) - mean_loss(mine), len(mine)
    sure = told(lead, known, seeds, seeds)
    units = "" if known is None or not known.deviation else f", {lead / known.deviation:.1f} deviations of a seed"
    fewer = ": **a BERT with fewer layers is ahead of all.**" if best.startswith(FEWER) and sure == AHEAD else "."
    said = f"{what} after {given:g} minutes, of {seeds} seed{'s' * (seeds > 1)}: {best}, {mean_loss(mine):.3f}"
    return f"{said}, before {second} by {lead:.3f}{units} ({sure}){fewer}"


def pairs(name: str) -> list[str]:
    """Narrow arms beside the BERTs nearest to them in multiply-adds, with what each pair does in a second."""
    found, speeds, below, said = by_seed(name, minutes(name)["screening"]), done(name, "speeds"), bar(name), []
    for label, other in controls(shape(name)).items():
        if speeds and label in found and other in found and all(counts(found[one][0], below) for one in (label, other)):
            mine, theirs = shared(found[label], found[other])
            lead = mean_loss(theirs) - mean_loss(mine)
            fast, slow = (f"{tokens_per_second(speeds, one):,.0f} tokens/s" for one in (label, other))
            sure = told(lead, spread(name), len(mine), len(theirs))
            losses = f"loss {mean_loss(mine):.3f} and {mean_loss(theirs):.3f}"
            said.append(f"{label} ({fast}) beside {other} ({slow}): {losses}, {sure}.")
    return said or [f"Narrow beside BERT with fewer layers: {ABSENT}."]


def deviations(name: str) -> str:
    """Mean loss and deviation over the seeds, of the arms that have several."""
    found: dict[tuple[float, str], list[Run]] = {}
    for run in runs(name).values():
        if not run.detects:
            found.setdefault((run.given, run.label), []).append(run)
    several = {key: some for key, some in found.items() if len(some) > 1}
    said = [f"{label} {mean_loss(some):.3f} ({len(some)}, {given:g} min)" for (given, label), some in several.items()]
    known = spread(name)
    if known is None:
        return f"Several seeds: {ABSENT}."
    margin = f"two runs differ above {known.margin(1, 1):.3f}"
    return f"Mean loss over seeds: {'; '.join(said)}; deviation of a seed {known.deviation:.3f}, so {margin}."


def per_flop(name: str) -> str:
    """GroupBERT beside BERT at equal multiply-adds, at every width."""
    each = [_width(name, int(dim), given) for dim, given in minutes(name)["widths"].items()]
    said, judged = "; ".join(text for text, _ in each), {verdict for _, verdict in each}
    claim = "Lower loss per multiply-add at three scales (GroupBERT beside BERT, each at its best rate)"
    if judged & {ABSENT, UNCOUNTED, UNSURE}:
        return f"{claim}: {ABSENT if judged == {ABSENT} else f'no verdict; {said}'}."
    return f"{claim}: {'holds here' if judged == {AHEAD} else 'does **not** hold here'}; {said}."


def _width(name: str, dim: int, given: float) -> tuple[str, str]:
    """(what is said, the verdict) of a width."""
    found = [everything(name).get(width_key(dim, given, label)) for label in FAMILIES]
    if None in found:
        return f"width {dim}: {ABSENT}", ABSENT
    bert, group = found
    sure = told(bert["val_loss"] - group["val_loss"], spread(name), 1, 1)
    below, tried = bar(name), done(name, "unigram_entropy") - TRIED
    if max(bert["val_loss"], group["val_loss"]) > below:
        sure = UNCOUNTED
    briefly = any(min(loss for _, loss in one["rates"] if loss is not None) > tried for one in found)
    took = f"{spent(group):.0f} and {spent(bert):.0f} 10^12 multiply-adds"
    time = f"{group['minutes']:.1f} and {bert['minutes']:.1f} minutes"
    losses = f"{group['val_loss']:.3f} beside {bert['val_loss']:.3f}"
    why = ", its rates were tried too briefly" if briefly else ""
    said = f"width {dim}: {losses}, {sure}{why} ({took}, {time}, rates {group['lr']:g} and {bert['lr']:g})"
    return said, UNCOUNTED if briefly else sure


# scores


def quarter(name: str) -> str:
    """ConvBERT that finds replaced tokens at a quarter of BERT's time."""
    claim, long = "Equal score at a quarter of the cost (ConvBERT, replaced tokens, beside BERT)", minutes(name)["long"]
    found, seen = scores(name), runs(name)
    bert = run_key(long, BERT, 0)
    for label in detecting(shape(name)):
        mine = run_key(long / 4, label, 0)
        own, other = (mean_score(found.get(key, {}), FIVE) for key in (mine, bert))
        if own is None or other is None:
            continue
        if not counts(seen[bert], bar(name)):
            return f"{claim}: no verdict, since {BERT} does not count after {long:g} minutes."
        behind = [task for task in FIVE if _behind(found[mine][task], found[bert][task])]
        verdict = f"does **not** hold here, behind on {', '.join(behind)}" if behind else "holds here, behind on none"
        mean = f"mean {100 * own:.1f} after {long / 4:g} minutes, {100 * other:.1f} after {long:g}"
        return f"{claim}: {verdict}; {each_task(found[mine], found[bert])}; {mean}, one seed."
    return f"{claim}: {ABSENT}."


def by_task(name: str) -> list[str]:
    """Every arm that narrows or detects beside BERT of the same minutes: ahead, behind, or within both intervals."""
    found, seen, below, said = scores(name), runs(name), bar(name), []
    for key, some in found.items():
        run, bert = seen[key], run_key(seen[key].given, BERT, 0)
        tasks = [task for task in some if task in found.get(bert, {})]
        if run.seed or not tasks or not (run.detects or ":" in run.found["pattern"]):
            continue
        if not counts(seen[bert], below) or not (run.detects or counts(run, below)):
            said.append(f"{key} beside {BERT}: no verdict, one of them does not count.")
            continue
        behind = [task for task in tasks if _behind(some[task], found[bert][task])]
        hurt = [task for task in behind if task not in SENTENCES]
        verdict = "**behind on sentences**" if set(behind) - set(hurt) else "not behind on sentences"
        verdict += f", hurt on {', '.join(hurt)}" if hurt else ""
        said.append(f"{key} beside {BERT}: {verdict}; {each_task(some, found[bert])}.")
    return said or [f"Narrow beside BERT, task by task: {ABSENT}."]


def questions(name: str) -> list[str]:
    """What is to be done where no encoder was asked for answers."""
    if any(QUESTIONS in some for some in scores(name).values()):
        return []
    return [f"Questions ({QUESTIONS}): {ABSENT}; `quality.py questions` fine-tunes BERT and the narrow arms on them."]


def each_task(some: Scored, others: Scored) -> str:
    return ", ".join(f"{task} {apart(some[task], others[task])}" for task in some if task in others)


def apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The difference in points, and whether the intervals lie apart."""
    points = 100 * (one["score"] - other["score"])
    known = None not in (one["low"], one["high"], other["low"], other["high"])
    sure = known and (one["low"] > other["high"] or one["high"] < other["low"])
    return f"{points:+.1f} ({AHEAD if points > 0 else BEHIND})" if sure else f"{points:+.1f}"


def _behind(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return BEHIND in apart(one, other)
