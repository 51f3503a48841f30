"""Quality for time: encoders of one shape pretrained for the same minutes, their validation loss against time.

    SLIMBERT_DATA=DIR python benchmarks/quality.py --work DIR [--minutes 20] [--seeds 1] [--arms NAME ...]
    [--name quality]

wiki_en, a WordPiece of 8,192, rows of 128; 6 layers of width 192, 6 heads of 32, hidden 768; every arm by one recipe
(masked LM at 15%, one learning rate for all, no dropout), validated every minute on the same masks. `fewer layers` is a
BERT of the multiply-adds of narrow 2. A run counts once its loss is 0.7 nat below the unigram entropy of the corpus:
before, all encoders are alike. Time of validation counts. Resumes arm by arm, and within an arm; nothing else may run.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from records import RECORDS, done, keep, same_machine

from slimbert.data.prepare import prepare
from slimbert.data.readers import documents
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.pretrain import pretrain
from slimbert.train.environment import best_dtype, gemm_tflops

SIZES = {"dim": 192, "head_dim": 32, "hidden": 768}
ARMS = {
    "BERT": "6{sf}",
    "fewer layers": "3{sf}",
    "narrow 1": "1{sf}:5{sf}",
    "narrow 2": "2{sf}:4{sf}",
    "context first": "2{sf},4{s}:4{f}",
    "ConvBERT": "6{mf}",
    "GroupBERT": "4{cgsg}",
    "narrow ConvBERT": "2{mf}:4{mf}",
}
LR, BATCH, ENOUGH = 1e-3, 64, 0.7


def data(work: Path) -> Path:
    """Prepared rows under `work`, made once."""
    if not (work / "data" / "manifest.json").exists():
        work.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(Path(os.environ["SLIMBERT_DATA"]) / "wiki_en" / "train.parquet", columns=["text"])
        pq.write_table(table, work / "text.parquet")
        TextTokenizer.train(documents([work / "text.parquet"]), vocab_size=8192).save(work / "tok")
        prepare([work / "text.parquet"], work / "tok", seq_len=128, out=work / "data", validation=0.01)
    return work / "data"


def unigram_entropy(folder: Path) -> float:
    """Nats per token: the loss of a model that knows how frequent tokens are, and nothing else."""
    shards = Shards.open(folder)
    counts = np.zeros(shards.vocab_size)
    for first in range(0, len(shards), 4096):
        rows = shards.rows(np.arange(first, min(first + 4096, len(shards))))
        counts += np.bincount(rows.ravel(), minlength=shards.vocab_size)
    counts[shards.tokenizer().special_ids] = 0
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def trained(pattern: str, folder: Path, out: Path, minutes: float, seed: int) -> dict[str, Any]:
    """One arm: its curve [seconds, validation loss], tokens seen."""
    recipe: dict[str, Any] = {
        "model": {"encoder": {"pattern": pattern, **SIZES}, "head": {"kind": "masked_lm"}},
        "optim": {"lr": LR},
        "train": {"batch_size": BATCH, "evaluate_every": 100, "evaluate_rows": 512, "checkpoint_every": 500},
    }
    settings = ["train.keep=1", f"train.compile={'true' if best_dtype('cpu') == 'bfloat16' else 'false'}"]
    made = pretrain(
        recipe,
        data=folder,
        out=out,
        budget=f"{minutes}m",
        settings=settings,
        seed=seed,
        resume=out.exists(),
        quiet=True,
    )
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    curve = [[row["seconds"], row["val_loss"]] for row in rows if "val_loss" in row]
    return {"curve": curve, "tokens": made.tokens, "val_loss": made.val_loss, "pattern": pattern}


def draw(name: str, entropy: float) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    for place, arm in enumerate(ARMS):
        curves = [made["curve"] for key, made in _all(name).items() if key.rpartition(" ")[0] == arm]
        for curve in curves:
            label = arm if curve is curves[0] else None
            axes.plot(*np.array(curve).T / [[60], [1]], color=f"C{place}", label=label, linewidth=1.6)
    axes.axhline(entropy - ENOUGH, color="#888", linestyle=":", linewidth=1, label="0.7 nat below unigrams")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("validation loss, nats per predicted token")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(RECORDS / name / "curve.png", dpi=150)


def _all(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDS / name / "result.json").read_text())
    return {key: value for key, value in found.items() if isinstance(value, dict) and "curve" in value}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--minutes", type=float, default=20.0)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    options.add_argument("--name", default="quality")
    chosen = options.parse_args()
    same_machine(chosen.name)
    folder = data(chosen.work)
    if done(chosen.name, "unigram_entropy") is None:
        keep(chosen.name, "unigram_entropy", unigram_entropy(folder))
    entropy = done(chosen.name, "unigram_entropy")
    for seed in range(chosen.seeds):
        for arm in chosen.arms:
            key = f"{arm} {seed}"
            if done(chosen.name, key) is None:
                out = chosen.work / f"{arm.replace(' ', '-')}-{seed}"
                made = trained(ARMS[arm], folder, out, chosen.minutes, seed)
                made["counts"] = made["val_loss"] is not None and made["val_loss"] <= entropy - ENOUGH
                keep(chosen.name, key, made | {"gemm_tflops": gemm_tflops(best_dtype("cpu"))})
                draw(chosen.name, entropy)
                print(f"{key}: {made['val_loss']:.4f} after {made['tokens']:,} tokens", flush=True)


if __name__ == "__main__":
    main()
