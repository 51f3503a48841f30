"""The arms of `quality.py`: encoders of one shape, all pre-norm, their multiply-adds, their data, and one pretraining
run of them.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import torch
from multiply_adds import of_masked_lm, of_replaced_tokens

from slimbert.data.prepare import prepare
from slimbert.data.readers import documents
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.pretrain import pretrain
from slimbert.model.generator import generator_of
from slimbert.model.presets import from_pattern
from slimbert.train.environment import best_dtype

VOCAB, LENGTH, BATCH, LR, RATE = 8192, 128, 64, 1e-3, 0.15
EVALUATE, CHECKPOINT = 100, 500  # updates between
GENERATOR = 0.25  # of the width
WIRING: Final = "pre"  # of all arms: GroupBERT's own, so that none differs in it


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The size of the encoders, hidden units 4 x dim. places: the layers before a narrowing; fewer: the depths of the
    BERTs nearest to each of them in multiply-adds; grouped: the layers of the GroupBERT nearest to BERT."""

    layers: int
    dim: int
    head_dim: int
    places: tuple[int, int]
    fewer: tuple[int, int]
    grouped: int


SHAPES = {
    "quality": Shape(layers=6, dim=192, head_dim=32, places=(1, 2), fewer=(3, 4), grouped=4),
    "small": Shape(layers=12, dim=256, head_dim=64, places=(2, 4), fewer=(5, 7), grouped=8),
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """An encoder; `detects`: trained to find replaced tokens, not masked ones."""

    pattern: str
    detects: bool = False

    def recipe(self, shape: Shape, *, lr: float = LR) -> dict[str, Any]:
        """The recipe without its budget."""
        encoder = {"pattern": self.pattern, "wiring": WIRING, "dim": shape.dim, "head_dim": shape.head_dim}
        encoder["hidden"] = 4 * shape.dim
        found: dict[str, Any] = {"optim": {"lr": lr}}
        if self.detects:
            objective = {"kind": "replaced_tokens", "generator": {"width": GENERATOR}}
            return found | {"model": {"encoder": encoder, "head": {"kind": "replaced_token"}}, "objective": objective}
        return found | {"model": {"encoder": encoder, "head": {"kind": "masked_lm"}}}

    def multiply_adds(self, shape: Shape, *, vocab: int, length: int) -> float:
        """Millions, of a forward pass over a text, its masked places alone answered for; the generator counts."""
        return _multiply_adds(self, shape, vocab, length)


@cache  # a quarter of a second, and every run of an arm asks
def _multiply_adds(arm: Arm, shape: Shape, vocab: int, length: int) -> float:
    few = round(RATE * length)
    sizes: dict[str, Any] = {"dim": shape.dim, "head_dim": shape.head_dim, "hidden": 4 * shape.dim, "vocab": vocab}
    encoder = from_pattern(arm.pattern, wiring=WIRING, **sizes)
    if arm.detects:
        small = generator_of(encoder, width=GENERATOR)
        return of_replaced_tokens(encoder, small, length=length, few=few) / 1e6
    return of_masked_lm(encoder, length=length, few=few) / 1e6


BERT, FEWER, NARROW, GROUPED = "BERT", "BERT of ", "narrow ", "GroupBERT"  # names, or what they begin with
FAMILIES, WIDTHS = (BERT, GROUPED), (128, 192, 256)  # compared at these


def arms(shape: Shape) -> dict[str, Arm]:
    """The arms of the screening, by name."""
    all_, (_, second) = shape.layers, shape.places
    behind = all_ - second
    return {
        BERT: Arm(pattern=f"{all_}{{sf}}"),
        **{f"{FEWER}{depth} layers": Arm(pattern=f"{depth}{{sf}}") for depth in shape.fewer},
        **{f"{NARROW}{place}": Arm(pattern=f"{place}{{sf}}:{all_ - place}{{sf}}") for place in shape.places},
        "context first": Arm(pattern=f"2{{sf}},{all_ - 2}{{s}}:{all_ - 2}{{f}}"),
        "ConvBERT": Arm(pattern=f"{all_}{{mf}}"),
        GROUPED: Arm(pattern=f"{shape.grouped}{{cgsg}}"),
        "narrow ConvBERT": Arm(pattern=f"{second}{{mf}}:{behind}{{mf}}"),
        "narrow ConvBERT without convolution behind": Arm(pattern=f"{second}{{mf}}:{behind}{{sf}}"),
    }


def detecting(shape: Shape) -> dict[str, Arm]:
    """The arms that find replaced tokens."""
    return {"ConvBERT finding replaced tokens": Arm(pattern=f"{shape.layers}{{mf}}", detects=True)}


def known(shape: Shape) -> dict[str, Arm]:
    """All arms."""
    return arms(shape) | detecting(shape)


def controls(shape: Shape) -> dict[str, str]:
    """{narrow arm: the BERT of fewer layers that is nearest to it in multiply-adds}."""
    return {
        f"{NARROW}{place}": f"{FEWER}{depth} layers" for place, depth in zip(shape.places, shape.fewer, strict=True)
    }


def at_width(label: str, dim: int, *, shape: Shape) -> str:
    """The name of an arm at a width, which is not said where it is that of the shape."""
    return label if dim == shape.dim else f"{label}, width {dim}"


def sized(shape: Shape, dims: tuple[int, ...]) -> dict[str, tuple[Arm, Shape]]:
    """Every arm that is ever trained, by its name: those of the shape, and FAMILIES at these widths."""
    found = {label: (arm, shape) for label, arm in known(shape).items()}
    for dim in dims:
        for label in FAMILIES:
            found[at_width(label, dim, shape=shape)] = arms(shape)[label], replace(shape, dim=dim)
    return found


def prepared(work: Path, articles: int) -> Path:
    """Rows of the first `articles` of wiki_en under `work`, made once."""
    folder = work / f"wiki_en-{articles}"
    text, tokenizer, data = (folder / name for name in ("text.parquet", "tok", "data"))
    if not (data / "manifest.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(Path(os.environ["SLIMBERT_DATA"]) / "wiki_en" / "train.parquet", columns=["text"])
        pq.write_table(table.slice(0, articles), text)
        TextTokenizer.train(documents([text]), vocab_size=VOCAB).save(tokenizer)
        prepare([text], tokenizer, seq_len=LENGTH, out=data, validation=0.01)
    return data


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


def compiles(device: str) -> bool:
    """Whether updates are compiled: on a GPU, and where bfloat16 is fast."""
    return device != "cpu" or best_dtype("cpu") == "bfloat16"


def settings_of(device: str) -> dict[str, Any]:
    """The train settings of a recipe without its budget."""
    every = {"evaluate_every": EVALUATE, "checkpoint_every": CHECKPOINT, "keep": 1}
    return {"batch_size": BATCH, "compile": compiles(device), **every}


def pretrained(
    arm: Arm, shape: Shape, folder: Path, out: Path, *, updates: int, seed: int, lr: float, device: str
) -> dict[str, Any]:
    """One run of so many updates, gone on with where it stopped: its curve [tokens, validation loss], and what it is.

    No clock is read: the run may be interrupted, and may share the machine. It stays in `out`, to be fine-tuned.
    """
    torch.compiler.reset()  # the graphs of the runs before count towards what torch keeps of a function
    made = pretrain(
        arm.recipe(shape, lr=lr) | {"train": settings_of(device)},
        data=folder,
        out=out,
        budget=f"{updates}steps",
        seed=seed,
        resume=out.exists(),
        device=device,
        quiet=True,
    )
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    shards = Shards.open(folder, verify=False)
    return {
        "pattern": arm.pattern,
        "detects": arm.detects,
        "dim": shape.dim,
        "lr": lr,
        "seed": seed,
        "curve": [[row["tokens"], row["val_loss"]] for row in rows if "val_loss" in row],
        "updates": made.steps,
        "tokens": made.tokens,
        "val_loss": made.val_loss,
        "multiply_adds": arm.multiply_adds(shape, vocab=shards.vocab_size, length=shards.seq_len),
        "row": shards.seq_len,
        "folder": out.name,
    }


def spent(run: Mapping[str, Any]) -> float:
    """Multiply-adds that a run took in all, 1e12: three times the forward passes."""
    return float(3 * run["multiply_adds"] * run["tokens"] / run["row"] / 1e6)
