"""What `encoders.py` lets run side by side: sizes, random batches, encoders, forward passes and updates."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import torch
from timing import Run
from torch import Tensor, nn
from transformers import ConvBertConfig
from transformers.utils.logging import disable_progress_bar

from slimbert.hf import convert, peers
from slimbert.model import EncoderConfig, Model, ModelConfig, fresh
from slimbert.model.heads import MaskedLmConfig
from slimbert.model.presets import from_pattern
from slimbert.train.engine import engine
from slimbert.train.environment import best_dtype
from slimbert.train.loop import train
from slimbert.train.objectives import MaskedLm
from slimbert.train.optim import OptimConfig, adamw

disable_progress_bar()
RATE = 0.15  # of predicted positions
EXACT = 1e-5  # how far two float32 answers may lie apart; on a GPU a reduction may take another order
EXACT_GPU = 1e-4


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The sizes of a run, and where it runs; tests give smaller ones.

    graphs: compile what the issue wants compiled, narrow updates among it; compile: everything else too.
    """

    device: str = "cpu"
    graphs: bool = True
    compile: bool = False
    layers: int = 12
    base: int = 768
    large: tuple[int, int] = (24, 1024)  # layers, width
    medium: int = 384
    small: int = 256
    head_dim: int = 64
    table: int = 128  # width of the token table of every small encoder
    vocab: int = 30522
    rows: int = 1  # the rows and tokens of every batch are divided by these
    tokens: int = 1
    step: int = 4096  # tokens of an update of a narrow encoder

    def shape(self, rows: int, length: int) -> tuple[int, int]:
        return max(1, rows // self.rows), length // self.tokens

    def encoder(self, text: str, *, dim: int | None = None, table: int | None = None) -> EncoderConfig:
        """A pattern at the width of the base size, or another; table: the width of the token table, if not `dim`."""
        made = from_pattern(text, dim=dim or self.base, head_dim=self.head_dim, vocab=self.vocab)
        return made if table is None else replace(made, embedding=replace(made.embedding, width=table))


def convbert_config(size: str, scale: Scale) -> ConvBertConfig:
    """transformers' ConvBERT of the published sizes: base, medium-small, small."""
    dim = {"base": scale.base, "medium-small": scale.medium, "small": scale.small}[size]
    return ConvBertConfig(
        vocab_size=scale.vocab,
        embedding_size=dim if size == "base" else scale.table,
        hidden_size=dim,
        num_hidden_layers=scale.layers,
        num_attention_heads=8 if size == "medium-small" else dim // scale.head_dim,
        intermediate_size=4 * dim,
        num_groups=2 if size == "medium-small" else 1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )


class Unequal(Exception):
    """Two models with the same weights do not give the same answer: no time of theirs would mean anything."""


def tokens(scale: Scale, rows: int, length: int, *, seed: int = 0) -> Tensor:
    """Random ids [rows, length], none of them special."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(scale.vocab // 30, scale.vocab, (rows, length), generator=random).to(scale.device)


def masked(scale: Scale, rows: int, length: int, *, seed: int = 0) -> dict[str, Tensor]:
    """A masked-LM batch of random tokens, as many predicted in every row."""
    ids, few = tokens(scale, rows, length, seed=seed), round(RATE * length)
    order = torch.rand(rows, length, generator=torch.Generator().manual_seed(seed)).topk(few).indices
    positions = order.sort(dim=1).values.to(scale.device)
    labels = ids.gather(1, positions)
    made = {"positions": positions, "labels": labels, "weights": torch.ones_like(labels, dtype=torch.float32)}
    return {"input_ids": ids.scatter(1, positions, min(103, scale.vocab - 1)), **made}


def everywhere(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same batch with a head that answers at every position: the others count for nothing."""
    ids, chosen = batch["input_ids"], batch["positions"]
    positions = torch.arange(ids.shape[1], device=ids.device).expand(len(ids), -1).contiguous()
    labels = ids.scatter(1, chosen, batch["labels"])
    weights = torch.zeros_like(ids, dtype=torch.float32).scatter(1, chosen, batch["weights"])
    return {"input_ids": ids, "positions": positions, "labels": labels, "weights": weights}


def ours(scale: Scale, encoder: EncoderConfig, head: Any = None, *, length: int) -> Model:
    """Our model with random weights."""
    return placed(scale, fresh(ModelConfig(encoder=encoder, head=head), 0), length=length)


def converted(scale: Scale, theirs: Any, *, length: int) -> Model:
    """A model of transformers as ours, with its weights."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return placed(scale, convert.read(folder)[0], length=length)


def placed(scale: Scale, model: Model, *, length: int) -> Model:
    return model.to(scale.device).eval()


def settled(scale: Scale, run: Callable[[], object]) -> Run:
    """`run`, and on a GPU the wait until it is done."""

    def done() -> None:
        run()
        if scale.device != "cpu":
            torch.cuda.synchronize()

    return done


def inference(scale: Scale, model: nn.Module, ids: Tensor, precision: str, **options: Any) -> Run:
    """One forward pass without gradients; compiled, ours is one graph or an error, as `engine.compiled` has it."""
    device, own = torch.device(scale.device).type, isinstance(model, Model)
    forward: Callable[..., object] = torch.compile(model, dynamic=False, fullgraph=own) if scale.compile else model

    def run() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            forward(ids, **options)

    return settled(scale, run)


def update(scale: Scale, model: Model, batch: dict[str, Tensor], *, compiled: bool = False) -> Run:
    """One update of our masked-LM training: forward, backward, clipping, AdamW."""
    objective = MaskedLm(model.train())
    accelerator = engine(device=scale.device, precision="auto")
    optimizer = adamw(objective, OptimConfig())
    loop: Iterator[Any] = train(objective, cycle([batch]), optimizer, accelerator=accelerator, compiled=compiled)
    return settled(scale, lambda: next(loop))


def fresh_update(scale: Scale, encoder: EncoderConfig, batch: dict[str, Tensor], *, compiled: bool = False) -> Run:
    """The same of a model with random weights."""
    made = ours(scale, encoder, MaskedLmConfig(), length=batch["input_ids"].shape[1])
    return update(scale, made, batch, compiled=compiled)


def their_update(scale: Scale, model: nn.Module, batch: dict[str, Tensor]) -> Run:
    """One update of a transformers model, as Trainer's defaults do it; ours is `batch`, and may change."""
    precision: Any = best_dtype(scale.device)
    step = peers.updates(model.to(scale.device), precision=precision, compiled=scale.compile)
    return settled(scale, lambda: step(peers.stock_batch(batch)))


@torch.no_grad()
def masked_lm_loss(model: nn.Module, batch: dict[str, Tensor]) -> float:
    """The loss in nats, in float32 and without dropout: of our model, or of one of transformers'."""
    model.eval()
    if isinstance(model, Model):
        return float(MaskedLm(model).eval()(batch).total)
    return float(model(**peers.stock_batch(batch)).loss)


def check_equal(scale: Scale, theirs: Tensor, own: Tensor) -> float:
    """The largest difference of two answers. Raises Unequal where they are not the same."""
    apart, within = float((theirs - own).abs().max()), EXACT if scale.device == "cpu" else EXACT_GPU
    if not apart <= within:
        raise Unequal(f"ours and transformers' answers lie {apart:.2g} apart, which is more than {within:g}")
    return apart
