"""IMDB: long reviews cut at 128 or 512 tokens, or read whole in windows of 512, accuracy beside time.

    SLIMBERT_DATA=DIR python benchmarks/imdb.py [--rows 4000] [--epochs 1] [--seeds 1] [--rounds 8] [--only PART]
    [--name imdb] [--work runs/NAME]

4,000 reviews of the official train and 2,000 of the official test, 200 others of train as validation; MiniLM-L6, one
epoch in batches of 16, rate 1e-4 (the library's for this width). The three arms differ in `max_len` and `windows`
alone. Windows overlap by a quarter, and the mean of their answers is the answer, in training too. PART is `scores`,
which may run beside other work and stops and resumes at any time (--work keeps the runs), or `speed`, behind them:
updates and answers of the three arms in turn, while nothing else runs.

About 75 minutes at 1,200 tokens/s: 68 for the scores, 7 for the speed.
"""

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from arms import (
    ALL_UPDATES,
    corpus,
    every_seed,
    listed,
    measured,
    minilm,
    other_encoder,
    our_updates,
    ours,
    parser,
    smaller,
    table,
)
from records import describe, done, keep, same_machine, same_settings
from timing import side_by_side

from slimbert.data.tasks import Task, load_task
from slimbert.errors import Interrupted
from slimbert.jobs.predict import load
from slimbert.train.environment import best_dtype

LR, BATCH = 1e-4, 16
VALIDATION, TEST, ASKED = 200, 2000, 64  # rows; ASKED: reviews whose answers are timed, again in every round
ARMS = {
    "cut at 128": ("max_len=128", "windows=cut"),
    "cut at 512": ("max_len=512", "windows=cut"),
    "windows of 512": ("max_len=512", "windows=mean"),
}


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="imdb", rows=4000, seeds=1)
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--rounds", type=int, default=8, help="updates of each arm that are timed (8)")
    options.add_argument("--only", choices=("scores", "speed"))
    options.add_argument("--work", type=Path, metavar="DIR", help="folder of the runs (runs/NAME)")
    chosen = options.parse_args(argv)
    encoder = chosen.encoder or minilm()
    same_machine(chosen.name)
    task = smaller(load_task(corpus("imdb"), kind="imdb"), train=chosen.rows, validation=VALIDATION, test=TEST)
    said = {"rows": len(task.train), "epochs": chosen.epochs, "lr": LR, "batch_size": BATCH}
    same_settings(chosen.name, said | {"precision": best_dtype("cpu")} | other_encoder(chosen.encoder))
    work = chosen.work or Path(__file__).parents[1] / "runs" / chosen.name
    if chosen.only != "speed":
        arms = {arm: partial(trained, encoder, task, arm, chosen.epochs, work) for arm in ARMS}
        try:
            every_seed(chosen.name, arms, chosen.seeds)
        except Interrupted as error:
            print(f"{error}: start the same command again", file=sys.stderr)
            sys.exit(error.exit_code)
    if chosen.only != "scores":
        measured(chosen.name, "speed", partial(speed, encoder, task, work, chosen.rounds))
        keep(chosen.name, "summary", said | {"lines": _lines(chosen.name, chosen.seeds)})
        text = _text(chosen.name, chosen.seeds)
        describe(chosen.name, text)
        print(text)


def trained(encoder: Path, task: Task, arm: str, epochs: int, work: Path, seed: int) -> dict[str, Any]:
    """The scores of a run, which is kept."""
    return ours(encoder, task, seed=seed, settings=_settings(arm, epochs), out=_run(work, arm, seed))


def speed(encoder: Path, task: Task, work: Path, rounds: int) -> dict[str, Any]:
    """Seconds of an update of each arm, and milliseconds to answer a review when many are asked at once; in turn."""
    assert task.test is not None
    epochs = -(-(rounds + 2) * BATCH // len(task.train))
    texts = task.test.texts[:ASKED]
    with tempfile.TemporaryDirectory() as folder:
        made = {
            arm: our_updates(encoder, task, _settings(arm, epochs), Path(folder) / str(number))
            for number, arm in enumerate(ARMS)
        }
        updates = side_by_side({arm: partial(next, run) for arm, run in made.items()}, rounds=rounds)
        for run in made.values():
            run.close()
    predictors = {arm: load(_run(work, arm, 0), device="cpu") for arm in ARMS}
    answers = side_by_side({arm: partial(one.predict, texts) for arm, one in predictors.items()}, rounds=3, warm=1)
    return {
        "update_seconds": {arm: sum(found["seconds"]) / rounds for arm, found in updates.items()},
        "ms_per_review": {arm: 1000 * found["median"] / len(texts) for arm, found in answers.items()},
    }


def _settings(arm: str, epochs: int) -> list[str]:
    return [f"epochs={epochs}", f"lr={LR}", f"batch_size={BATCH}", *ARMS[arm], *ALL_UPDATES]


def _run(work: Path, arm: str, seed: int) -> Path:
    return work / f"{arm.replace(' ', '-')}-{seed}"


def _lines(name: str, seeds: int) -> list[list[str]]:
    """A line for each run; times also as a multiple of the first arm's."""
    times, lines = done(name, "speed"), []
    for seed in range(seeds):
        for arm in ARMS:
            one = done(name, f"{arm} {seed}")
            score = f"{one['accuracy']:.1%} ({one['accuracy_low']:.1%} to {one['accuracy_high']:.1%})"
            minutes = f"{one['updates'] * times['update_seconds'][arm] / 60:.1f}"
            told = [minutes, f"{times['ms_per_review'][arm]:,.0f}"]
            over = [_times(times[what], arm) for what in ("update_seconds", "ms_per_review")]
            lines.append([f"{arm}, seed {seed}", score, *(f"{a} ({b:.1f} x)" for a, b in zip(told, over, strict=True))])
    return lines


def _times(found: dict[str, float], arm: str) -> float:
    """How many times the first arm's."""
    return found[arm] / found[next(iter(ARMS))]


def _text(name: str, seeds: int) -> str:
    columns = ["", "accuracy (95% interval)", "minutes of updates", "ms to answer a review"]
    return f"{table(columns, _lines(name, seeds))}\n\n{listed(_said(name, seeds))}"


def _said(name: str, seeds: int) -> list[str]:
    """What windows give over cutting, in points of accuracy and in time."""
    said = []
    whole, times = list(ARMS)[-1], done(name, "speed")
    for seed in range(seeds):
        best = done(name, f"{whole} {seed}")
        for arm in list(ARMS)[:-1]:
            one = done(name, f"{arm} {seed}")
            points = 100 * (best["accuracy"] - one["accuracy"])
            apart = best["accuracy_low"] > one["accuracy_high"] or best["accuracy_high"] < one["accuracy_low"]
            sure = "the intervals lie apart" if apart else "within the intervals of both"
            longer = times["update_seconds"][whole] / times["update_seconds"][arm]
            said.append(
                f"{whole} against {arm}, seed {seed}: {points:+.1f} points ({sure}), {longer:.1f} times the time."
            )
    known = done(name, "settings")
    said.append(
        "Minutes are the updates of a run times the mean time of one, all arms in turn; matrix product then "
        f"{times['gemm_tflops']:.3f} TFLOP/s."
    )
    said.append(f"{known['rows']:,} of 25,000 reviews to learn from, {known['epochs']} epoch(s): no full IMDB score.")
    return said if seeds > 1 else [*said, "One seed says nothing of the spread between seeds."]


if __name__ == "__main__":
    main()
