"""Adaptive depth on real text: docstrings of the standard library, in which the eight encoders learn to tell modules
apart; the safe run gives every text the class of the full run, and so does one compiled graph of the full depth.
"""

import dataclasses
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.testing import assert_close

from laws.test_adaptive import CLOSE
from methods.test_ticket_adaptive import EIGHT, stopping
from methods.tickets import ENCODERS, LABELS
from slimbert.data.builtin import shown
from slimbert.data.docstrings import docstrings
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.tasks.features import Features
from slimbert.model.adaptive import Adapted, Safe, adaptive
from slimbert.model.model import Model
from slimbert.train.engine import engine
from slimbert.train.loop import train
from slimbert.train.objectives import Batch
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.supervised import answer, with_first_row

MODULES = ("_pydecimal", "mailbox", "tarfile")  # with many docstrings, one for each of LABELS
PIECES, LONGEST, EACH = 400, 48, 64
OPTIM = OptimConfig(lr=1e-2, weight_decay=0.0)
EVERY = pytest.mark.parametrize("name", EIGHT)
TRACED = ("bert", "narrow", "context first", "narrow groupbert")  # whose traces differ: rows, a memory, divided layers


class Texts(NamedTuple):
    """Rows of token ids, the module that each comes from, and the tokenizer's size and pad."""

    features: Features
    labels: np.ndarray[Any, Any]
    pieces: int
    pad: int

    def batch(self, index: Any) -> Batch:
        return {
            **self.features.batch(index, pad_id=self.pad, device="cpu"),
            "labels": torch.from_numpy(self.labels[index]),
        }


@cache
def real() -> Texts:
    texts, labels = [], []
    for label, module in enumerate(MODULES):
        found = importlib.util.find_spec(module)
        assert found is not None and found.origin is not None
        summaries = [shown(text) for text in docstrings(Path(found.origin).read_bytes())]
        some = [text for text in dict.fromkeys(summaries) if len(text.split()) > 3][:EACH]
        assert len(some) > EACH // 2, module
        texts += some
        labels += [label] * len(some)
    tokenizer = TextTokenizer.train(texts, PIECES)
    rows = Features(tokenizer.encode(texts, LONGEST), None, np.arange(len(texts)))
    return Texts(rows, np.array(labels), tokenizer.vocab_size, tokenizer.special.pad)


@cache
def learnt(name: str) -> Model:
    """A model whose units learnt for 20 steps to tell the modules apart, and to stop."""
    texts = real()
    encoder = ENCODERS[name]
    embedding = dataclasses.replace(encoder.embedding, vocab=texts.pieces, max_len=LONGEST)
    objective = stopping(dataclasses.replace(encoder, embedding=embedding))

    def feed() -> Iterator[Batch]:
        for step in range(20):
            yield texts.batch(np.random.default_rng(step).permutation(len(texts.labels))[:16])

    accelerator = engine(device="cpu", precision="float32")
    steps = train(objective, feed(), adamw(objective, OPTIM), lr=lambda now: OPTIM.lr, accelerator=accelerator)
    assert len(list(steps)) == 20
    return undecided(objective.model.eval())


def undecided(model: Model) -> Model:
    """With halting values far apart around a half, and no class ahead over all texts, in every unit: so that texts stop
    at different depths and have different classes."""
    maps = [(unit.classes, unit.halt) for unit in model.head.units]  # type: ignore[union-attr]
    seen: dict[torch.nn.Module, list[Tensor]] = {one: [] for both in maps for one in both}
    hooks = [one.register_forward_hook(lambda module, _, out: seen[module].append(out.flatten(0, -2))) for one in seen]
    for batch in batches():
        in_full(model, batch)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for unit in model.head.units:  # type: ignore[union-attr]
            classes, halts = torch.cat(seen[unit.classes]), torch.cat(seen[unit.halt])
            unit.classes.bias.sub_(classes.mean(dim=0))
            scale = 3 / halts.std().clamp(min=1e-6)
            unit.halt.weight.mul_(scale)
            unit.halt_bias.fill_(float(-scale * halts.median()))
    return model


def batches() -> Iterator[Batch]:
    """All texts, those of similar length together."""
    texts = real()
    order = np.argsort(-texts.features.lengths(), kind="stable")
    for first in range(0, len(order), 32):
        yield texts.batch(order[first : first + 32])


def stopped(model: Model, batch: Batch, policy: Safe) -> Adapted:
    given = with_first_row(model, batch)
    return adaptive(model, given["input_ids"], mask=given.get("mask"), select=given["select"], policy=policy)


def in_full(model: Model, batch: Batch) -> Tensor:
    with torch.no_grad():
        return answer(model, batch)


@EVERY
@pytest.mark.parametrize("policy", [Safe(), Safe(rule="published")], ids=["tight", "published"])
def test_real_texts_get_the_class_of_the_full_depth(name: str, policy: Safe):
    model, depths, classes = learnt(name), [], []
    for batch in batches():
        adapted, full = stopped(model, batch, policy), in_full(model, batch)
        assert (adapted.answers.argmax(-1) == full.argmax(-1)).all()
        depths += adapted.depth.tolist()
        classes += full.argmax(-1).tolist()
    assert len(depths) == len(real().labels)
    assert len(set(depths)) > 1, "all stopped at one depth: the test shows nothing"
    assert set(classes) <= set(range(len(LABELS))) and len(set(classes)) > 1, "one class for all: it shows nothing"


@pytest.mark.parametrize("name", TRACED)
def test_one_compiled_graph_has_the_full_depth_and_the_classes_of_the_safe_run(name: str):
    """Compiled, a run has its full depth: no graph depends on the text. Without code generation."""
    model, batch = learnt(name), list(batches())[-2]  # ragged
    given = with_first_row(model, batch)
    options = {key: given[key] for key in ("mask", "select") if key in given}
    torch.compiler.reset()
    counters.clear()
    run = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=False)
    with torch.no_grad():
        compiled = run(given["input_ids"], **options)
    assert counters["stats"]["unique_graphs"] == 1
    assert_close(compiled.exp(), in_full(model, batch).exp(), **CLOSE)
    assert (stopped(model, batch, Safe()).answers.argmax(-1) == compiled.argmax(-1)).all()
