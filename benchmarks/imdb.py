"""IMDB: long reviews cut at 128 or 512 tokens, or read whole in windows of 512, accuracy beside time.

    SLIMBERT_DATA=DIR python benchmarks/imdb.py [--rows 4000] [--epochs 1] [--seeds 1] [--name imdb]

4,000 reviews of the official train and 2,000 of the official test, 200 others of train as validation; MiniLM-L6, one
epoch in batches of 16, rate 1e-4 (the library's for this width). The three arms differ in `max_len` and `windows`
alone and take turns. Windows overlap by a quarter, and the mean of their answers is the answer, in training too.
Resumes where it stopped; nothing else may run.

About 50 minutes at 1,200 tokens/s: 0.5, 1.1 and 1.5 million tokens to learn from, half as many to answer, which goes
three times as fast. Begun once on two cores with AVX2 only, windows of 512 learnt about 460 tokens/s: 120 minutes then.
"""

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from arms import ALL_UPDATES, corpus, every_seed, listed, minilm, other_encoder, ours, parser, smaller, table
from records import describe, done, keep, same_machine, same_settings

from slimbert.data.tasks import Task, load_task
from slimbert.jobs.predict import load
from slimbert.train.environment import best_dtype

LR, BATCH = 1e-4, 16
VALIDATION, TEST, ASKED = 200, 2000, 200  # rows; ASKED: reviews whose answers are timed
ARMS = {
    "cut at 128": ("max_len=128", "windows=cut"),
    "cut at 512": ("max_len=512", "windows=cut"),
    "windows of 512": ("max_len=512", "windows=mean"),  # 16 rows of 512 tokens at a time: 7 GB in all
}


def trained(encoder: Path, task: Task, arm: str, epochs: int, seed: int) -> dict[str, Any]:
    """The scores, the time to learn, and milliseconds to answer a review when many are asked at once."""
    assert task.test is not None
    settings = [f"epochs={epochs}", f"lr={LR}", f"batch_size={BATCH}", *ARMS[arm], *ALL_UPDATES]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        found = ours(encoder, task, seed=seed, settings=settings, out=run)
        predictor = load(run, device="cpu")
        texts = task.test.texts[:ASKED]
        predictor.predict(texts[:2])  # what is loaded first is not timed
        began = time.perf_counter()
        predictor.predict(texts)
        spent = time.perf_counter() - began
    return found | {"ms_per_review": 1000 * spent / len(texts)}


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="imdb", rows=4000, seeds=1)
    options.add_argument("--epochs", type=int, default=1)
    chosen = options.parse_args(argv)
    encoder = chosen.encoder or minilm()
    same_machine(chosen.name)
    task = smaller(load_task(corpus("imdb"), kind="imdb"), train=chosen.rows, validation=VALIDATION, test=TEST)
    said = {"rows": len(task.train), "epochs": chosen.epochs, "lr": LR, "batch_size": BATCH}
    same_settings(chosen.name, said | {"precision": best_dtype("cpu")} | other_encoder(chosen.encoder))
    every_seed(chosen.name, {arm: partial(trained, encoder, task, arm, chosen.epochs) for arm in ARMS}, chosen.seeds)
    keep(chosen.name, "summary", said | {"lines": _lines(chosen.name, chosen.seeds)})
    text = _text(chosen.name, chosen.seeds)
    describe(chosen.name, text)
    print(text)


def _lines(name: str, seeds: int) -> list[list[str]]:
    """A line for each run; times also as a multiple of the first arm's with the same seed."""
    lines = []
    for seed in range(seeds):
        first = done(name, f"{next(iter(ARMS))} {seed}")
        for arm in ARMS:
            one = done(name, f"{arm} {seed}")
            score = f"{one['accuracy']:.1%} ({one['accuracy_low']:.1%} to {one['accuracy_high']:.1%})"
            times = f"{one['seconds'] / 60:.1f} ({one['seconds'] / first['seconds']:.1f} x)"
            asked = f"{one['ms_per_review']:,.0f} ({one['ms_per_review'] / first['ms_per_review']:.1f} x)"
            lines.append([f"{arm}, seed {seed}", score, times, asked, f"{one['gemm_tflops']:.3f}"])
    return lines


def _text(name: str, seeds: int) -> str:
    columns = ["", "accuracy (95% interval)", "minutes of updates", "ms to answer a review", "TFLOP/s then"]
    return f"{table(columns, _lines(name, seeds))}\n\n{listed(_said(name, seeds))}"


def _said(name: str, seeds: int) -> list[str]:
    """What windows give over cutting, in points of accuracy and in time."""
    said = []
    whole = list(ARMS)[-1]
    for seed in range(seeds):
        best = done(name, f"{whole} {seed}")
        for arm in list(ARMS)[:-1]:
            one = done(name, f"{arm} {seed}")
            points = 100 * (best["accuracy"] - one["accuracy"])
            apart = best["accuracy_low"] > one["accuracy_high"] or best["accuracy_high"] < one["accuracy_low"]
            sure = "the intervals lie apart" if apart else "within the intervals of both"
            times = best["seconds"] / one["seconds"]
            said.append(
                f"{whole} against {arm}, seed {seed}: {points:+.1f} points ({sure}), {times:.1f} times the time."
            )
    known = done(name, "settings")
    said.append(f"{known['rows']:,} of 25,000 reviews to learn from, {known['epochs']} epoch(s): no full IMDB score.")
    return said if seeds > 1 else [*said, "One seed says nothing of the spread between seeds."]


if __name__ == "__main__":
    main()
