"""The baselines we measure against: transformers' own BERT, trained the way its examples train it.

`pretrain_step` is one update of the `run_mlm.py` example: BertForMaskedLM with its dropout, an attention mask, labels
[B, S] with -100 where nothing is predicted, logits at every position, fused AdamW, gradients clipped at norm 1.
`tuned=True` is what a careful user does next: no dropout, torch.compile. `finetune` is a plain loop around
AutoModelForSequenceClassification. What Trainer adds around its step (logging, callbacks, a float32 copy of the
outputs) is left out, in favour of the baseline. Precision is always an argument: where a CPU lacks bfloat16 arithmetic,
autocast to it is emulated and many times slower than float32.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, BertConfig, BertForMaskedLM

from .masked_lm import NOT_PREDICTED

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The size of a BERT; the defaults are the pretraining benchmark's."""

    layers: int = 12
    dim: int = 256
    heads: int = 4
    vocab: int = 30522
    max_len: int = 512


def bert(shape: Shape, *, dropout: float = 0.1, seed: int = 0) -> BertForMaskedLM:
    """Stock BertForMaskedLM with random weights; feed-forward 4 * dim wide, attention as transformers chooses."""
    config = BertConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.dim,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.dim,
        max_position_embeddings=shape.max_len,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BertForMaskedLM(config)


def stock_batch(batch: dict[str, Tensor], *, pad_id: int | None = None) -> dict[str, Tensor]:
    """Our masked-LM batch (input_ids [B, S]; positions, labels, weights [B, P]) as the example's collator gives it.

    Labels become [B, S], -100 where nothing is predicted; the mask is all ones unless `pad_id` names padding.
    """
    ids = batch["input_ids"]
    real = batch["labels"].masked_fill(batch["weights"] == 0, NOT_PREDICTED)
    labels = torch.full_like(ids, NOT_PREDICTED).scatter_reduce(1, batch["positions"], real, "amax")  # -100 < every id
    mask = torch.ones_like(ids) if pad_id is None else (ids != pad_id).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def updates(
    model: nn.Module,
    *,
    precision: Precision,
    lr: float = 5e-5,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    compiled: bool = False,
    schedule: Callable[[int], float] = lambda step: 1.0,
) -> Callable[[dict[str, Tensor]], Tensor]:
    """`step(batch) -> loss` (0-dim, detached): one update of a transformers model, as Trainer's defaults do it.

    lr, weight_decay and clip default to Trainer's; schedule(step) multiplies lr, steps counted from 0.
    """
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    forward: Callable[..., Any] = torch.compile(model) if compiled else model

    def step(batch: dict[str, Tensor]) -> Tensor:
        with autocast(model, precision):
            loss: Tensor = forward(**batch).loss
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def pretrain_step(
    shape: Shape,
    batches: Sequence[dict[str, Tensor]],
    *,
    precision: Precision,
    tuned: bool = False,
    device: str = "cpu",
    seed: int = 0,
) -> Callable[[], Tensor]:
    """`step() -> loss`: one update of stock BERT on the next of the fixed `batches` (ours), which are used in turn.

    tuned: without dropout and compiled; the first call then compiles. Time it apart.
    """
    model: nn.Module = bert(shape, dropout=0.0 if tuned else 0.1, seed=seed)
    step = updates(model.to(device), precision=precision, compiled=tuned)
    turn = cycle([{k: v.to(device) for k, v in stock_batch(b).items()} for b in batches])
    return lambda: step(next(turn))


@torch.no_grad()
def validation_loss(model: nn.Module, batches: Sequence[dict[str, Tensor]], *, precision: Precision) -> float:
    """Mean loss in nats over every predicted position of `batches` (as `stock_batch` gives them)."""
    model.eval()
    total, count = 0.0, 0
    for batch in batches:
        predicted = int((batch["labels"] != NOT_PREDICTED).sum())
        with autocast(model, precision):
            total += float(model(**batch).loss) * predicted
        count += predicted
    model.train()
    return total / count


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Tokenized texts with their special tokens, each an int array [s]; types only for sentence pairs."""

    ids: Sequence[np.ndarray]
    labels: np.ndarray  # [N]
    types: Sequence[np.ndarray] | None = None


@dataclass(frozen=True, kw_only=True)
class PlainRun:
    """predictions [N] in the order of the test examples; seconds of training and predicting; real tokens trained on."""

    predictions: np.ndarray
    train_seconds: float
    test_seconds: float
    train_tokens: int


def finetune(
    folder: Path,
    train: Examples,
    test: Examples,
    *,
    classes: int,
    batches: Sequence[Sequence[np.ndarray]],
    precision: Precision,
    lr: float,
    weight_decay: float = 0.01,
    warmup: float = 0.1,
    batch_size: int = 32,
    pad_id: int = 0,
    device: str = "cpu",
    seed: int = 0,
) -> PlainRun:
    """Fine-tune the transformers model in `folder` on `train`, predict `test`; every loop as plain as can be.

    batches: per epoch a list of index arrays, so that both sides of a comparison see the same length-sorted batches.
    warmup: share of the updates with a rising rate, then linear to 0. Test batches are length-sorted too.
    """
    count = sum(len(epoch) for epoch in batches)
    rising = max(1, int(warmup * count))
    order = np.argsort([len(x) for x in test.ids], kind="stable")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        source = AutoModelForSequenceClassification
        model: nn.Module = source.from_pretrained(folder, num_labels=classes, local_files_only=True)
        model = model.to(device=device, dtype=torch.float32)
        step = updates(
            model,
            precision=precision,
            lr=lr,
            weight_decay=weight_decay,
            schedule=lambda n: min((n + 1) / rising, (count - n) / max(1, count - rising)),
        )
        start = time.perf_counter()
        for index in (index for epoch in batches for index in epoch):
            step(collated(train, index, pad_id=pad_id, device=device))
        _synchronize(device)
        trained = time.perf_counter()
    model.eval()
    predictions = np.empty(len(test.ids), np.int64)
    with torch.no_grad(), autocast(model, precision):
        for at in range(0, len(order), batch_size):
            index = order[at : at + batch_size]
            logits = model(**collated(test, index, pad_id=pad_id, device=device)).logits  # [B, C]
            predictions[index] = logits.argmax(-1).cpu().numpy()
    return PlainRun(
        predictions=predictions,
        train_seconds=trained - start,
        test_seconds=time.perf_counter() - trained,
        train_tokens=sum(len(train.ids[i]) for epoch in batches for index in epoch for i in index),
    )


def autocast(model: nn.Module, precision: Precision) -> AbstractContextManager[Any]:
    """Mixed precision for the device of the model; does nothing for float32."""
    device = next(model.parameters()).device.type
    return torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def collated(examples: Examples, index: np.ndarray, *, pad_id: int, device: str) -> dict[str, Tensor]:
    """Rows [B, S] padded to the longest of the batch, as DataCollatorWithPadding does."""
    rows = [torch.from_numpy(examples.ids[i].astype(np.int64)) for i in index]
    batch = {
        "input_ids": pad_sequence(rows, batch_first=True, padding_value=pad_id),
        "attention_mask": pad_sequence([torch.ones_like(r) for r in rows], batch_first=True),
        "labels": torch.from_numpy(examples.labels[index].astype(np.int64)),
    }
    if examples.types is not None:
        types = [torch.from_numpy(examples.types[i].astype(np.int64)) for i in index]
        batch["token_type_ids"] = pad_sequence(types, batch_first=True)
    return {k: v.to(device) for k, v in batch.items()}


def _synchronize(device: str) -> None:
    """Wait for what the GPU still has to do, so that a clock read next tells the truth."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
