"""SQuAD v1.1: `slimbert finetune` of MiniLM-L6 beside transformers' `run_qa` recipe, exact match, F1 and time.

    SLIMBERT_DATA=DIR python benchmarks/squad.py [--rows 6000] [--epochs 1] [--seeds 1] [--name squad]

6,000 questions of the official train for both, 1,000 of the official validation as the test, 300 other questions of
train as the validation of ours. Same epochs, batch size (12), windows (384 pieces, about 128 of them shared) and rate
(1e-4: the recipe's 3e-5 is meant for encoders twice as wide), no warm-up and no decay. Batches of ours hold rows of
similar length, those of the recipe are drawn at random and padded to their longest row, as it does. The one validation
of ours comes behind its last update and is not counted. How much of the ratio is padding is counted at the end: tokens
of all updates of both, windows of both. Resumes where it stopped; nothing else may run.

About 40 minutes at 1,200 tokens/s: 1.0 million tokens for ours, 1.7 with the padding of the recipe, and the answers.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from arms import (
    ALL_UPDATES,
    corpus,
    every_seed,
    judged,
    listed,
    minilm,
    other_encoder,
    ours,
    parser,
    smaller,
    table,
    versus,
)
from peers.run_qa import MAX_LEN, Asked, padded, run_qa
from records import describe, done, keep, same_machine, same_settings

from slimbert.data.contexts import encode_with_offsets
from slimbert.data.metrics import squad_scores
from slimbert.data.tasks import Split, Task, load_task
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.tasks.answering import OVERLAP
from slimbert.train.environment import best_dtype

LR, BATCH = 1e-4, 12
VALIDATION, TEST = 300, 1000
FAST = (1.5, 1.25)  # times the recipe's speed, with AMX and without
ARMS = ("run_qa", "slimbert")


def slimbert(encoder: Path, task: Task, epochs: int, seed: int) -> dict[str, Any]:
    settings = [f"epochs={epochs}", f"lr={LR}", f"batch_size={BATCH}", f"max_len={MAX_LEN}", *ALL_UPDATES]
    return ours(encoder, task, seed=seed, settings=[*settings, "warmup=0", "weight_decay=0"])


def theirs(encoder: Path, task: Task, epochs: int, seed: int) -> dict[str, Any]:
    assert task.test is not None
    answers, seconds = run_qa(
        encoder,
        _asked(task.train),
        _asked(task.test),
        epochs=epochs,
        batch_size=BATCH,
        lr=LR,
        precision=best_dtype("cpu"),  # type: ignore[arg-type]
        seed=seed,
    )
    return squad_scores([[text for text, _ in right] for right in task.test.labels], answers) | {"seconds": seconds}


def _asked(split: Split) -> Asked:
    first = [answers[0] for answers in split.labels]
    return Asked([one.question for one in split.texts], [one.context for one in split.texts], first)


def counted(name: str, encoder: Path, task: Task, epochs: int) -> dict[str, Any]:
    """Windows of both, tokens of their updates with seed 0, padding counted, and what both make of the ratio of times.

    Nothing is measured again: the batches of the recipe follow from its seed, the tokens of ours stand in the record.
    """
    asked = _asked(task.train)
    theirs = padded(encoder, asked, epochs=epochs, batch_size=BATCH, seed=0)
    pairs = list(zip(asked.questions, asked.contexts, strict=True))
    own = encode_with_offsets(TextTokenizer.load(encoder), pairs, max_len=MAX_LEN, stride=int(OVERLAP * MAX_LEN))
    tokens = theirs["tokens"], done(name, "slimbert 0")["tokens"]
    seconds = [done(name, f"{arm} 0")["seconds"] for arm in ARMS]
    fewer = tokens[0] / tokens[1]
    return {
        "windows": dict(zip(ARMS, (theirs["windows"], len(own)), strict=True)),
        "tokens": dict(zip(ARMS, tokens, strict=True)),
        "times_fewer_tokens": fewer,
        "times_as_fast_a_token": seconds[0] / seconds[1] / fewer,
    }


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="squad", rows=6000, seeds=1)
    options.add_argument("--epochs", type=int, default=1)
    chosen = options.parse_args(argv)
    encoder = chosen.encoder or minilm()
    same_machine(chosen.name)
    task = load_task(corpus("squad"), kind="squad")
    task = smaller(task, train=chosen.rows, validation=VALIDATION, test=TEST)
    said = {"rows": len(task.train), "epochs": chosen.epochs, "lr": LR, "batch_size": BATCH, "max_len": MAX_LEN}
    same_settings(chosen.name, said | {"precision": best_dtype("cpu")} | other_encoder(chosen.encoder))
    arms = {"slimbert": slimbert, "run_qa": theirs}
    given = encoder, task, chosen.epochs
    every_seed(chosen.name, {arm: partial(run, *given) for arm, run in arms.items()}, chosen.seeds)
    found = said | versus(chosen.name, "f1", peer="run_qa", seeds=chosen.seeds)
    found["counted"] = counted(chosen.name, encoder, task, chosen.epochs)
    keep(chosen.name, "summary", found)
    text = _text(chosen.name, found, chosen.seeds)
    describe(chosen.name, text)
    print(text)


def _text(name: str, found: dict[str, Any], seeds: int) -> str:
    lines = []
    for arm in ARMS:
        for seed in range(seeds):
            one = done(name, f"{arm} {seed}")
            f1 = f"{one['f1']:.3f} ({one['f1_low']:.3f} to {one['f1_high']:.3f})"
            lines.append([f"{arm}, seed {seed}", f"{one['exact']:.3f}", f1, f"{one['seconds']:,.0f}"])
            lines[-1].append(f"{one['gemm_tflops']:.3f}")
    columns = ["", "exact match", "F1 (95% interval)", "seconds of updates", "TFLOP/s then"]
    shown = json.dumps(done(name, "settings"))
    said = judged(found, "f1", peer="run_qa", fast=FAST)
    said.append(_padding(found["counted"]))
    said.append(f"{found['rows']:,} of 87,599 training questions, {found['epochs']} epoch(s): no full SQuAD score.")
    return f"Settings: {shown}\n\n{table(columns, lines)}\n\n{listed(said)}"


def _padding(counts: dict[str, Any]) -> str:
    """Where the ratio of the times comes from, in a sentence."""
    arms = (f"{arm} {counts['tokens'][arm]:,} in {counts['windows'][arm]:,} windows" for arm in ARMS)
    fewer, faster = counts["times_fewer_tokens"], counts["times_as_fast_a_token"]
    said = f"{fewer:.2f} times fewer, and {faster:.2f} times as fast a token"
    return f"Tokens of all updates, padding counted, seed 0: {', '.join(arms)}; {said}."


if __name__ == "__main__":
    main()
