"""SST-2: `slimbert finetune` of MiniLM-L6 beside a plain loop around transformers' model, score and time.

    SLIMBERT_DATA=DIR python benchmarks/sst2.py [--rows 67349] [--seeds 3] [--epochs 2] [--pairs 400] [--name sst2]

Same rows, epochs, learning rate, precision, length-sorted batches and head on both sides: the first token through
BERT's pooler, as AutoModelForSequenceClassification has it (`slimbert` computes the last layer for that row only). The
official validation is the test (it is looked at once), a part of train the validation of `slimbert finetune`, and the
plain loop trains on the same rest. Early stopping is off, so that both make the same updates.

Time is measured update by update: both arms stand side by side in one process, take turns, and get the same batches, so
that what else the machine does hits both alike; nothing else may run. Scores are those of whole runs, seed by seed,
beside which other work may run. Resumes where it stopped; `--only speed` or `--only scores` does one of the two.
"""

import dataclasses
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from arms import ALL_UPDATES, corpus, every_seed, judged, listed, minilm, our_updates, parser, sample, scores, table
from arms import ours as finetuned
from records import describe, done, keep, same_machine
from timing import side_by_side
from transformers import AutoModelForSequenceClassification

from slimbert.data.metrics import accuracy
from slimbert.data.sampler import length_buckets
from slimbert.data.tasks import Split, Task, load_task
from slimbert.data.tokenizer import TextTokenizer
from slimbert.hf import peers
from slimbert.train.environment import best_dtype, gemm_tflops

LR, BATCH, MAX_LEN = 5e-5, 32, 128
SAME_HEAD = ("pool=cls", "hidden=tanh")
WARM = 3  # updates before the clock


def settings(epochs: int) -> list[str]:
    return [f"epochs={epochs}", f"lr={LR}", f"batch_size={BATCH}", f"max_len={MAX_LEN}", *SAME_HEAD, *ALL_UPDATES]


def ours(encoder: Path, task: Task, epochs: int, seed: int) -> dict[str, float]:
    found = finetuned(encoder, task, seed=seed, settings=settings(epochs))
    return {"accuracy": found["accuracy"], "updates": found["updates"]}


def plain(encoder: Path, task: Task, epochs: int, seed: int) -> dict[str, float]:
    assert task.test is not None
    train, test = examples(encoder, task.train), examples(encoder, task.test)
    batches = [list(buckets(train, seed, epoch)) for epoch in range(epochs)]
    result = peers.finetune(
        encoder, train, test, classes=len(task.labels), batches=batches, precision=best_dtype("cpu"), lr=LR, seed=seed
    )  # fmt: skip
    score = accuracy(task.test.labels, result.predictions)
    return {"accuracy": score, "updates": sum(len(epoch) for epoch in batches)}


def examples(encoder: Path, split: Split) -> peers.Examples:
    tokenizer = TextTokenizer.load(encoder)
    return peers.Examples(ids=tokenizer.encode(split.texts, MAX_LEN), labels=split.labels)  # type: ignore[arg-type]


def buckets(train: peers.Examples, seed: int, epoch: int) -> Sequence[np.ndarray]:
    """The batches of an epoch of `slimbert finetune`."""
    return length_buckets(np.array([len(row) for row in train.ids]), BATCH, seed=seed, epoch=epoch)


def speed(encoder: Path, task: Task, pairs: int) -> dict[str, Any]:
    """Seconds of an update on the same batches, one arm after the other; the ratio of the sums, with its interval."""
    gemm = gemm_tflops(best_dtype("cpu"))
    chosen = settings(math.ceil((WARM + pairs) * BATCH / len(task.train)))
    with tempfile.TemporaryDirectory() as folder:
        loop = our_updates(encoder, task, chosen, Path(folder) / "run")
        plainly = plain_updates(encoder, task)
        arms = {"plain": lambda: next(plainly), "slimbert": lambda: next(loop)}
        found = side_by_side(arms, rounds=pairs, warm=WARM)
        loop.close()
    spent = np.array([found[arm]["seconds"] for arm in arms])  # [2, pairs]
    drawn = np.random.default_rng(0).integers(0, pairs, (2000, pairs))
    ratios = spent[0][drawn].sum(1) / spent[1][drawn].sum(1)
    return {
        "pairs": pairs,
        "seconds_per_update": dict(zip(arms, spent.mean(1).tolist(), strict=True)),
        "times_as_fast": float(spent[0].sum() / spent[1].sum()),
        "interval": np.quantile(ratios, [0.025, 0.975]).tolist(),
        "gemm_tflops": [gemm, gemm_tflops(best_dtype("cpu"))],
        "seconds": {name: [round(one, 4) for one in found[name]["seconds"]] for name in arms},
    }


def plain_updates(encoder: Path, task: Task) -> Iterator[object]:
    """The updates of the plain loop."""
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, num_labels=len(task.labels), local_files_only=True
    )
    step = peers.updates(model, precision=best_dtype("cpu"), lr=LR, weight_decay=0.01)
    train = examples(encoder, task.train)
    batches = (index for epoch in count() for index in buckets(train, 0, epoch))
    return (step(peers.collated(train, index, pad_id=0, device="cpu")) for index in batches)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="sst2", rows=67349, seeds=3)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--pairs", type=int, default=400, metavar="N", help="updates of each arm that are timed (400)")
    options.add_argument("--only", choices=("speed", "scores"))
    chosen = options.parse_args(argv)
    encoder = chosen.encoder or minilm()
    if chosen.only != "scores":  # which do not depend on it
        same_machine(chosen.name)
    task = load_task(corpus("sst2"))
    task = dataclasses.replace(task, train=sample(task.train, chosen.rows))
    if chosen.only != "scores" and done(chosen.name, "speed") is None:
        keep(chosen.name, "speed", speed(encoder, task, chosen.pairs))
    if chosen.only != "speed":
        arms = {"slimbert": ours, "plain": plain}
        given = encoder, task, chosen.epochs
        every_seed(chosen.name, {arm: partial(run, *given) for arm, run in arms.items()}, chosen.seeds)
    if chosen.only is None:
        found = summary(chosen.name, chosen.seeds, rows=len(task.train), epochs=chosen.epochs)
        keep(chosen.name, "summary", found)
        describe(chosen.name, text(chosen.name, found, chosen.seeds))
        print(json.dumps(done(chosen.name, "summary"), indent=1))


def summary(name: str, seeds: int, **said: Any) -> dict[str, Any]:
    """Means and deviations of the scores, and how the updates compare."""
    said |= {"lr": LR, "batch_size": BATCH, "max_len": MAX_LEN, "precision": best_dtype("cpu")}
    return said | scores(name, "accuracy", ("plain", "slimbert"), seeds) | {"speed": _brief(done(name, "speed"))}


def text(name: str, found: Mapping[str, Any], seeds: int) -> str:
    columns = ["", "accuracy", "by seed", "ms of an update"]
    each = {arm: [done(name, f"{arm} {seed}")["accuracy"] for seed in range(seeds)] for arm in ("plain", "slimbert")}
    rows = [
        [
            arm,
            f"{found[arm]['accuracy']:.4f}" + (f" ± {found[arm]['deviation']:.4f}" if seeds > 1 else ""),
            ", ".join(f"{one:.4f}" for one in each[arm]),
            f"{1000 * found['speed']['seconds_per_update'][arm]:.0f}",
        ]
        for arm in each
    ]
    lower, upper = found["speed"]["interval"]
    said = f"{found['rows']:,} rows, {found['epochs']} epochs, {seeds} seeds, {found['precision']}."
    timed = (
        f"Updates timed: {found['speed']['pairs']} of each arm, in turn, on the same batches: "
        f"{found['speed']['times_as_fast']:.2f} times as fast, 95% interval {lower:.2f} to {upper:.2f}; matrix product "
        f"before and behind {', '.join(f'{one:.3f}' for one in found['speed']['gemm_tflops'])} TFLOP/s."
    )
    verdict = listed(judged(found | found["speed"], "accuracy", peer="plain", fast=(1.5, 1.25)))
    return f"{said}\n\n{table(columns, rows)}\n\n{timed}\n\n{verdict}"


def _brief(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "seconds"}


if __name__ == "__main__":
    main()
