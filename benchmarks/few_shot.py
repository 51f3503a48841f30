"""Few labelled rows: fine-tuned, frozen with logistic regression, TF-IDF; 8, 32, 128 rows a class, SST-2 and AG News.

    SLIMBERT_DATA=DIR python benchmarks/few_shot.py [--seeds 5] [--sizes 8 32 128] [--tasks sst2 ag_news] [--rows 600]
    [--name few_shot]

Each seed draws other rows, as many to learn from as to choose on (early stop, C of the regressions), by
`slimbert finetune --few-shot`; the three methods see the same rows. MiniLM-L6, mean of the tokens; batches of 16, 100
updates or 3 epochs, whatever is more, else the defaults. Tested on --rows rows, the same ones always, of the official
validation of SST-2 and the official test of AG News (the descriptions, which is all that its train rows have). Draws a
chart with the 95% interval of the mean over the seeds, and says what follows from the figures, computed and not opined:
a method is ahead where the interval of the paired difference does not hold 0. Resumes where it stopped; nothing else
may run.

About 25 minutes at 1,200 tokens/s: 30 s a run of SST-2 and 90 s of AG News at most, less where training stops early.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from arms import corpus, listed, measured, minilm, other_encoder, ours, parser, smaller, table
from records import describe, done, keep, picture, same_machine, same_settings

from slimbert.data.metrics import over_seeds
from slimbert.data.tasks import Task, load_split, load_task
from slimbert.jobs.few_shot import FROZEN
from slimbert.train.environment import best_dtype

SETTINGS = ("batch_size=16", "min_updates=100", "max_len=128")
TUNED, STILL, WORDS = "fine-tuned", "frozen + logistic regression", "TF-IDF + logistic regression"
COLOURS = {TUNED: "#c8502d", STILL: "#2d6cc8", WORDS: "#8a8f98"}
TITLES = {"sst2": "SST-2, 2 classes", "ag_news": "AG News, 4 classes"}
Scores = Mapping[int, Mapping[str, Sequence[float]]]  # rows a class -> method -> accuracy of each draw


def tasks(names: Sequence[str], rows: int) -> dict[str, Task]:
    found = {}
    for name in names:
        folder = corpus(name)
        task = load_task(folder, kind=name)
        if name == "ag_news":  # its test has the title before the text, which its train has not
            same = load_split(folder, labels=task.labels, text_columns=["description"], label_column=task.label_column)
            task = dataclasses.replace(task, test=same)
        found[name] = smaller(task, train=len(task.train), validation=len(task.validation), test=rows)
    return found


def drawn(encoder: Path, task: Task, size: int, seed: int) -> dict[str, Any]:
    """The accuracy of the three methods on one draw, and the seconds of fine-tuning."""
    made = ours(encoder, task, seed=seed, settings=SETTINGS, few_shot=size, baselines=True)
    others = {STILL: made["baselines"][FROZEN]["accuracy"], WORDS: made["baselines"][WORDS]["accuracy"]}
    return {TUNED: made["accuracy"], **others, "updates": made["updates"], "seconds": made["seconds"]}


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="few_shot", rows=600, seeds=5, of="test rows at most")
    options.add_argument("--sizes", nargs="+", type=int, default=[8, 32, 128], metavar="N", help="rows of each class")
    options.add_argument("--tasks", nargs="+", choices=list(TITLES), default=list(TITLES))
    chosen = options.parse_args(argv)
    encoder = chosen.encoder or minilm()
    same_machine(chosen.name)
    same_settings(
        chosen.name,
        {"test_rows": chosen.rows, "set": SETTINGS, "precision": best_dtype("cpu")} | other_encoder(chosen.encoder),
    )
    loaded = tasks(chosen.tasks, chosen.rows)
    for seed in range(chosen.seeds):
        for name, task in loaded.items():
            for size in chosen.sizes:
                measured(chosen.name, f"{name} {size} {seed}", partial(drawn, encoder, task, size, seed))
    found = {name: _scores(chosen.name, name, chosen.sizes, chosen.seeds) for name in chosen.tasks}
    advised = advice(found)
    keep(chosen.name, "summary", {"advice": advised, "accuracy": found})
    draw(found, picture(chosen.name, "few_shot.png"))
    text = _text(chosen.name, found, advised, chosen.seeds)
    describe(chosen.name, text)
    print(text)


def _scores(record: str, name: str, sizes: Sequence[int], seeds: int) -> dict[int, dict[str, list[float]]]:
    kept = {size: [done(record, f"{name} {size} {seed}") for seed in range(seeds)] for size in sizes}
    return {size: {method: [one[method] for one in runs] for method in COLOURS} for size, runs in kept.items()}


def advice(found: Mapping[str, Scores]) -> list[str]:
    """What follows from the accuracies: the best method of each size, and from how many rows on fine-tuning pays."""
    said, verdicts = [], []
    sizes = sorted(next(iter(found.values())))
    for size in sizes:
        words = []
        for name, scores in found.items():
            means = {method: statistics.mean(each) for method, each in scores[size].items()}
            first, second = sorted(means, key=lambda method: -means[method])[:2]
            sure = "ahead of" if _ahead(scores[size], first, second) else "not surely ahead of"
            gap = 100 * (means[first] - means[second])
            words.append(f"{name}: {first} {means[first]:.1%}, {sure} {second} ({gap:+.1f} points)")
        said.append(f"{size} rows of each class. {'; '.join(words)}.")
    for name, scores in found.items():
        won = {size: all(_ahead(scores[size], TUNED, other) for other in (STILL, WORDS)) for size in sizes}
        lost = [str(size) for size in sizes if _ahead(scores[size], STILL, TUNED)]
        pays = next((size for size in sizes if all(won[later] for later in sizes if later >= size)), None)
        rest = (
            f"{STILL} is ahead of it with {' and '.join(lost)}" if lost else f"{STILL} is not shown to be ahead of it"
        )
        if pays is None:
            verdicts.append(f"on {name} fine-tuning is not ahead up to {sizes[-1]} rows of each class, and {rest}")
        elif pays == sizes[0]:
            verdicts.append(f"on {name} fine-tune, already with {pays} rows of each class")
        else:
            verdicts.append(f"on {name} fine-tune from {pays} rows of each class on; with fewer, {rest}")
    return [*said, f"So: {'; '.join(verdicts)}."]


def _ahead(scores: Mapping[str, Sequence[float]], first: str, second: str) -> bool:
    """Whether the interval of the mean difference on the same draws lies above 0; not known from a single draw."""
    apart = [one - other for one, other in zip(scores[first], scores[second], strict=True)]
    return len(apart) > 1 and over_seeds(apart).low > 0


def draw(found: Mapping[str, Scores], file: Path) -> None:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(found), figsize=(4.6 * len(found), 4.2), layout="constrained", squeeze=False)
    for axes, (name, scores) in zip(panels[0], found.items(), strict=True):
        for shift, (method, colour) in zip((-0.06, 0.0, 0.06), COLOURS.items(), strict=True):
            sizes = sorted(scores)
            each = [over_seeds(scores[size][method]) for size in sizes]
            places = [size * 2**shift for size in sizes]
            means = [100 * one.mean for one in each]
            reach = np.array([[100 * one.mean - _share(one.low), _share(one.high) - 100 * one.mean] for one in each]).T
            axes.errorbar(
                places,
                means,
                yerr=np.nan_to_num(reach),
                label=method,
                color=colour,
                marker="o",
                capsize=3,
                linewidth=1.8,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(scores), [str(size) for size in sorted(scores)])
        axes.minorticks_off()
        axes.set_title(TITLES[name])
        axes.set_xlabel("labelled rows of each class")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    panels[0][0].set_ylabel("accuracy, %, mean and 95% interval")
    panels[0][-1].legend(frameon=False, loc="lower right")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _share(value: float) -> float:
    """In %, no less than 0 and no more than 100, which the interval of few draws may be."""
    return float(np.clip(100 * value, 0, 100))


def _text(record: str, found: Mapping[str, Scores], advised: Sequence[str], seeds: int) -> str:
    rows = []
    for name, scores in found.items():
        for size in sorted(scores):
            runs = [done(record, f"{name} {size} {seed}") for seed in range(seeds)]
            cells = []
            for method in COLOURS:
                one = over_seeds(scores[size][method])
                spread = f" ± {100 * (one.high - one.mean):.1f}" if seeds > 1 else ""
                cells.append(f"{100 * one.mean:.1f}{spread}")
            seconds = f"{statistics.median(one['seconds'] for one in runs):.0f}"
            rate = f"{statistics.median(one['gemm_tflops'] for one in runs):.3f}"
            rows.append([f"{name}, {size} a class", *cells, seconds, rate])
    columns = ["accuracy in %, 95% interval", *COLOURS, "median seconds of fine-tuning", "TFLOP/s then"]
    limits = "One encoder and two sets of short English texts; other tasks may turn elsewhere."
    return f"![accuracy by rows of each class](few_shot.png)\n\n{table(columns, rows)}\n\n{listed([*advised, limits])}"


if __name__ == "__main__":
    main()
