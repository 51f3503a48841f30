"""Validation loss against time at bert_mini size: our pretraining beside stock transformers', same tokenizer and rows.

    SLIMBERT_DATA=DIR python benchmarks/pretrain_wiki.py --work DIR [--minutes 20] [--articles 14618] [--together]
    [--name pretrain_wiki]

Both arms train on the same packed rows of 128 tokens (wiki_en, a WordPiece of 8,192) for the same wall-clock time and
are scored on the same masked validation rows: one after the other on all cores, or, with --together, at the same time
on one core each, so that what else the machine does hits both alike. Ours is `slimbert pretrain` with
recipes/bert_mini_mlm.yaml; stock is BertForMaskedLM of the same shape as run_mlm.py trains it (dropout 0.1, logits
everywhere), its learning rate and warm-up the same and its schedule linear over the time, as Trainer's. Time spent on
validation counts for both, every 100 updates. Resumes arm by arm; nothing else may run.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
import torch
from records import RECORDS, done, keep, same_machine

from slimbert.data.masking import Masking
from slimbert.data.prepare import prepare
from slimbert.data.readers import documents
from slimbert.data.sampler import Sampler
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.hf.peers import Shape, bert, stock_batch, updates, validation_loss
from slimbert.jobs.pretrain import pretrain
from slimbert.train.environment import best_dtype

RECIPE = Path(__file__).parents[1] / "recipes" / "bert_mini_mlm.yaml"
ARMS = ("slimbert", "stock transformers")
BATCH, LR, WARMUP, VALIDATION_ROWS = 64, 1e-3, 0.06, 512


def data(work: Path, articles: int) -> Path:
    """Prepared rows under `work`, made once."""
    if not (work / "data" / "manifest.json").exists():
        work.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(Path(os.environ["SLIMBERT_DATA"]) / "wiki_en" / "train.parquet", columns=["text"])
        pq.write_table(table.slice(0, articles), work / "text.parquet")
        TextTokenizer.train(documents([work / "text.parquet"]), vocab_size=8192).save(work / "tok")
        prepare([work / "text.parquet"], work / "tok", seq_len=128, out=work / "data", validation=0.01)
    return work / "data"


def ours(folder: Path, work: Path, minutes: float) -> list[list[float]]:
    """[seconds, validation loss] of `slimbert pretrain`."""
    out = work / "ours"
    every = ["train.evaluate_every=100", f"train.evaluate_rows={VALIDATION_ROWS}", "train.checkpoint_every=100000"]
    pretrain(RECIPE, data=folder, out=out, budget=f"{minutes}m", settings=every, resume=out.exists())
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [[row["seconds"], row["val_loss"]] for row in rows if "val_loss" in row]


def stock(folder: Path, minutes: float) -> list[list[float]]:
    """[seconds, validation loss] of stock BERT."""
    shards, held = Shards.open(folder), Shards.open(folder, split="validation")
    masking = Masking(0.15, TextTokenizer.load(shards.tokenizer_folder))
    budget, precision = minutes * 60, best_dtype("cpu")
    model = bert(Shape(layers=4, dim=256, heads=4, vocab=shards.vocab_size))
    spent = 0.0
    sampler = Sampler(len(shards), BATCH, seed=0)

    def left(n: int) -> float:
        share = spent / budget
        return max(0.0, min((share + 1e-3) / WARMUP, (1 - share) / (1 - WARMUP)))

    step = updates(model, precision=precision, lr=LR, weight_decay=0.01, schedule=left)
    checks = [_masked(masking, held, np.arange(i, i + BATCH), i) for i in range(0, VALIDATION_ROWS, BATCH)]
    curve: list[list[float]] = []
    n, begin = 0, time.perf_counter()
    while spent < budget:
        step(_masked(masking, shards, sampler.batch(n), n))
        spent = time.perf_counter() - begin
        n += 1
        if n % 100 == 0 or spent >= budget:
            curve.append([spent, validation_loss(model, checks, precision=precision)])
            print(f"stock step {n}  {spent:.0f} s  validation loss {curve[-1][1]:.4f}", flush=True)
    return curve


def _masked(masking: Masking, shards: Shards, index: Any, seed: int) -> dict[str, torch.Tensor]:
    rows = torch.from_numpy(shards.rows(index % len(shards)))
    return stock_batch(masking(rows, generator=torch.Generator().manual_seed(seed)))


def both(work: Path, minutes: float) -> dict[str, list[list[float]]]:
    """The curve of each arm, trained at the same time in two processes, each bound to a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    running = []
    for core, arm in zip(cores, ARMS, strict=False):
        words = [sys.executable, __file__, "--work", str(work), "--minutes", str(minutes), "--arm", arm]
        bound = {**os.environ, "OMP_NUM_THREADS": "1"}
        running.append(subprocess.Popen(["taskset", "-c", str(core), *words], env=bound))
    codes = [process.wait() for process in running]
    if any(codes):
        sys.exit("an arm failed: see above")
    return {arm: json.loads((work / f"{arm}.json").read_text()) for arm in ARMS}


def trained(arm: str, folder: Path, work: Path, minutes: float) -> list[list[float]]:
    return ours(folder, work, minutes) if arm == "slimbert" else stock(folder, minutes)


def draw(name: str) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for arm, colour in (("stock transformers", "#8a8f98"), ("slimbert", "#c8502d")):
        curve = np.array(done(name, arm))
        axes.plot(curve[:, 0] / 60, curve[:, 1], label=arm, color=colour, linewidth=2)
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("validation loss, nats per predicted token")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(RECORDS / name / "curve.png", dpi=150)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--minutes", type=float, default=20.0)
    options.add_argument("--articles", type=int, default=14618)
    options.add_argument("--together", action="store_true")
    options.add_argument("--arm", choices=ARMS, help="train this arm only, into a file of the folder of work")
    options.add_argument("--name", default="pretrain_wiki")
    chosen = options.parse_args()
    folder = data(chosen.work, chosen.articles)
    if chosen.arm:
        curve = trained(chosen.arm, folder, chosen.work, chosen.minutes)
        (chosen.work / f"{chosen.arm}.json").write_text(json.dumps(curve))
        return
    same_machine(chosen.name)
    if chosen.together and done(chosen.name, ARMS[0]) is None:
        for arm, curve in both(chosen.work, chosen.minutes).items():
            keep(chosen.name, arm, curve)
    for arm in ARMS:
        if done(chosen.name, arm) is None:
            keep(chosen.name, arm, trained(arm, folder, chosen.work, chosen.minutes))
    cores = 1 if chosen.together else len(os.sched_getaffinity(0))
    said = {"minutes": chosen.minutes, "articles": chosen.articles, "cores": cores, "lr": LR, "batch": BATCH}
    keep(chosen.name, "settings", said)
    draw(chosen.name)


if __name__ == "__main__":
    main()
