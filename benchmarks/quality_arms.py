"""The arms of `quality.py`: encoders of one shape, their multiply-adds, their data, and one pretraining run of them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from multiply_adds import of_masked_lm, of_replaced_tokens

from slimbert.data.prepare import prepare
from slimbert.data.readers import documents
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.pretrain import pretrain
from slimbert.model.generator import generator_of
from slimbert.model.presets import from_pattern
from slimbert.parts.absorbed import PRICE
from slimbert.train.environment import best_dtype

DIM, HEAD_DIM = 192, 32  # hidden: 4 x DIM
VOCAB, LENGTH, BATCH, LR, RATE = 8192, 128, 64, 1e-3, 0.15
EVALUATE, CHECKPOINT = 100, 500  # updates between
GENERATOR = 0.25  # of the width


@dataclass(frozen=True, kw_only=True)
class Arm:
    """An encoder; wiring None: as its letters ask for; `detects`: trained to find replaced tokens, not masked ones."""

    pattern: str
    wiring: str | None = None
    detects: bool = False

    @property
    def narrows(self) -> bool:
        return ":" in self.pattern

    def recipe(self, *, lr: float = LR, dim: int | None = None) -> dict[str, Any]:
        """The recipe without its budget; dim: the width if it is not DIM."""
        dim = dim or DIM
        encoder = {"pattern": self.pattern, "dim": dim, "head_dim": HEAD_DIM, "hidden": 4 * dim}
        encoder |= {"wiring": self.wiring} if self.wiring else {}
        found: dict[str, Any] = {"optim": {"lr": lr}}
        if self.detects:
            objective = {"kind": "replaced_tokens", "generator": {"width": GENERATOR}}
            return found | {"model": {"encoder": encoder, "head": {"kind": "replaced_token"}}, "objective": objective}
        return found | {"model": {"encoder": encoder, "head": {"kind": "masked_lm"}}}

    def multiply_adds(self, *, vocab: int, length: int, dim: int | None = None) -> float:
        """Millions, of a forward pass over a text, its masked places alone answered for; the generator counts."""
        dim, few = dim or DIM, round(RATE * length)
        sizes: dict[str, Any] = {"dim": dim, "head_dim": HEAD_DIM, "hidden": 4 * dim, "vocab": vocab}
        encoder = from_pattern(self.pattern, wiring=self.wiring, **sizes)  # type: ignore[arg-type]
        if self.detects:
            small = generator_of(encoder, width=GENERATOR)
            return of_replaced_tokens(encoder, small, length=length, few=few) / 1e6
        return of_masked_lm(encoder, length=length, few=few) / 1e6


BERT = "BERT"
ARMS = {
    BERT: Arm(pattern="6{sf}"),
    "BERT of 3 layers": Arm(pattern="3{sf}"),  # the multiply-adds of narrow 1
    "BERT of 4 layers": Arm(pattern="4{sf}"),  # of narrow 2, and a tenth more
    "narrow 1": Arm(pattern="1{sf}:5{sf}"),
    "narrow 2": Arm(pattern="2{sf}:4{sf}"),
    "context first": Arm(pattern="2{sf},4{s}:4{f}"),
    "ConvBERT": Arm(pattern="6{mf}"),
    "GroupBERT": Arm(pattern="4{cgsg}"),
    "narrow ConvBERT": Arm(pattern="2{mf}:4{mf}"),
    "narrow ConvBERT without convolution behind": Arm(pattern="2{mf}:4{sf}"),
}
CONTROLS = ("BERT of 3 layers", "BERT of 4 layers")
DETECTS = {"ConvBERT finding replaced tokens": Arm(pattern="6{mf}", detects=True)}
FAMILIES = {"BERT, pre-norm": Arm(pattern="6{sf}", wiring="pre"), "GroupBERT": Arm(pattern="4{cgsg}")}


def prepared(work: Path, articles: int) -> Path:
    """Rows of wiki_en under `work`, made once; `articles` from the first on."""
    if not (work / "data" / "manifest.json").exists():
        work.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(Path(os.environ["SLIMBERT_DATA"]) / "wiki_en" / "train.parquet", columns=["text"])
        pq.write_table(table.slice(0, articles), work / "text.parquet")
        TextTokenizer.train(documents([work / "text.parquet"]), vocab_size=VOCAB).save(work / "tok")
        prepare([work / "text.parquet"], work / "tok", seq_len=LENGTH, out=work / "data", validation=0.01)
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


def pretrained(
    arm: Arm,
    folder: Path,
    out: Path,
    *,
    budget: str,
    seed: int = 0,
    device: str = "cpu",
    lr: float = LR,
    dim: int | None = None,
) -> dict[str, Any]:
    """One run, gone on with where it stopped: its curve [seconds, validation loss, tokens], and what it is.

    budget: as in `slimbert pretrain --budget`. The run stays in `out`, to be fine-tuned.
    """
    compiled = device != "cpu" or best_dtype("cpu") == "bfloat16"
    train = {"batch_size": BATCH, "evaluate_every": EVALUATE, "checkpoint_every": CHECKPOINT, "keep": 1}
    made = pretrain(
        arm.recipe(lr=lr, dim=dim) | {"train": train | {"compile": compiled}},
        data=folder,
        out=out,
        budget=budget,
        seed=seed,
        resume=out.exists(),
        device=device,
        quiet=True,
    )
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    shards = Shards.open(folder, verify=False)
    return {
        "pattern": arm.pattern,
        "wiring": arm.wiring,
        "detects": arm.detects,
        "dim": dim or DIM,
        "lr": lr,
        "curve": [[row["seconds"], row["val_loss"], row["tokens"]] for row in rows if "val_loss" in row],
        "tokens": made.tokens,
        "seconds": made.seconds,
        "val_loss": made.val_loss,
        "multiply_adds": arm.multiply_adds(vocab=shards.vocab_size, length=shards.seq_len, dim=dim),
        "row": shards.seq_len,
        "price": PRICE,
        "compiled": compiled,
        "folder": out.name,
    }


def spent(run: Mapping[str, Any]) -> float:
    """Multiply-adds that a run took in all, 1e12: three times the forward passes."""
    return float(3 * run["multiply_adds"] * run["tokens"] / run["row"] / 1e6)


def at(run: Mapping[str, Any], seconds: float) -> float:
    """The validation loss of a run at a time, between two validations by a straight line."""
    curve = np.array(run["curve"], dtype=float)
    return float(np.interp(seconds, curve[:, 0], curve[:, 1]))
