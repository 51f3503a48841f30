"""Adaptive depth on real text: docstrings of the standard library. The eight encoders learn which module one is of,
which of some words are in it, how long it is, and which of its words begin with a capital; the safe run gives every
text the answer of the full depth, and so does one compiled graph of the full depth.
"""

import dataclasses
import importlib.util
from collections.abc import Iterator
from functools import cache, partial
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
from slimbert.data.alignment import encode_words
from slimbert.data.builtin import shown
from slimbert.data.docstrings import docstrings
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.tasks.features import Column, Features
from slimbert.model.adaptive import Adapted, Safe, adaptive
from slimbert.model.heads import Answers
from slimbert.model.model import Model
from slimbert.train.engine import engine
from slimbert.train.loop import train
from slimbert.train.objectives import Batch
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.supervised import IGNORED, Judge, answer, each_label, number, one_class, tags, with_first_row

MODULES = ("_pydecimal", "mailbox", "tarfile")  # with many docstrings, one for each of LABELS
OCCURRING = ("the", "a", "file")  # each in some of them
PIECES, LONGEST, EACH = 400, 48, 64
TOLERANCE = 5.0  # tokens of at most LONGEST
OPTIM = OptimConfig(lr=1e-2, weight_decay=0.0)
EVERY = pytest.mark.parametrize("name", EIGHT)
STEPS: dict[Answers, int] = {"class": 20, "labels": 5, "number": 5, "tags": 5}
TRACED = ("bert", "narrow", "context first", "narrow groupbert")  # whose traces differ: rows, a memory, divided layers
JUDGES: dict[Answers, Judge] = {
    "class": one_class,
    "labels": each_label,
    "number": partial(number, deviation=10.0),
    "tags": tags,
}
HEADS: dict[Answers, Any] = {"number": {"labels": ("tokens",), "high": LONGEST + 2.0}}


class Texts(NamedTuple):
    """Rows of token ids with what is to be learnt of each, and the tokenizer's size and pad."""

    features: Features
    pieces: int
    pad: int

    def batch(self, index: Any) -> Batch:
        return self.features.batch(index, pad_id=self.pad, device="cpu")


@cache
def summaries() -> tuple[tuple[str, int], ...]:
    """(text, the number of its module)."""
    out = []
    for label, module in enumerate(MODULES):
        found = importlib.util.find_spec(module)
        assert found is not None and found.origin is not None
        texts = [shown(text) for text in docstrings(Path(found.origin).read_bytes())]
        some = [text for text in dict.fromkeys(texts) if len(text.split()) > 3][:EACH]
        assert len(some) > EACH // 2, module
        out += [(text, label) for text in some]
    return tuple(out)


@cache
def real(kind: Answers = "class") -> Texts:
    texts, modules = ([one[i] for one in summaries()] for i in (0, 1))
    tokenizer = TextTokenizer.train(texts, PIECES)
    each = np.arange(len(texts))
    if kind == "tags":
        words = [text.split() for text in texts]
        windows = encode_words(tokenizer, words, max_len=LONGEST, stride=8)
        begins = [[begin(word) for word in words[one.row][slice(*one.owned)]] for one in windows]
        columns = {
            "select": Column([one.first_pieces for one in windows], 0, 8),
            "labels": Column([np.array(row, dtype=np.int64) for row in begins], IGNORED, 8),
        }
        rows = Features([one.ids for one in windows], None, np.arange(len(windows)), columns=columns)
    else:
        ids = tokenizer.encode(texts, LONGEST)
        wanted: dict[Answers, Any] = {
            "class": np.array(modules),
            "labels": np.array([[word in text.lower().split() for word in OCCURRING] for text in texts]),
            "number": np.array([len(row) for row in ids], dtype=np.float32),
        }
        rows = Features(ids, None, each, columns={"labels": Column(wanted[kind])})
    return Texts(rows, tokenizer.vocab_size, tokenizer.special.pad)


def begin(word: str) -> int:
    """A small letter, a capital, or something else."""
    return 0 if word[0].islower() else 1 if word[0].isupper() else 2


@cache
def learnt(name: str, kind: Answers = "class") -> Model:
    """A model whose units learnt for some steps to answer, and to stop."""
    texts = real(kind)
    encoder = ENCODERS[name]
    embedding = dataclasses.replace(encoder.embedding, vocab=texts.pieces, max_len=LONGEST)
    head = {"answer": kind, **HEADS.get(kind, {})}
    objective = stopping(dataclasses.replace(encoder, embedding=embedding), judge=JUDGES[kind], **head)

    def feed() -> Iterator[Batch]:
        for step in range(STEPS[kind]):
            yield texts.batch(np.random.default_rng(step).permutation(len(texts.features))[:16])

    accelerator = engine(device="cpu", precision="float32")
    steps = train(objective, feed(), adamw(objective, OPTIM), lr=lambda now: OPTIM.lr, accelerator=accelerator)
    assert len(list(steps)) == STEPS[kind]
    return undecided(objective.model.eval(), kind)


def undecided(model: Model, kind: Answers) -> Model:
    """With halting values far apart around a half, and no answer ahead over all texts, in every unit: so that texts
    stop at different depths and are answered differently."""
    maps = [(unit.classes, unit.halt) for unit in model.head.units]  # type: ignore[union-attr]
    seen: dict[torch.nn.Module, list[Tensor]] = {one: [] for both in maps for one in both}
    hooks = [one.register_forward_hook(lambda module, _, out: seen[module].append(out.flatten(0, -2))) for one in seen]
    for batch in batches(kind):
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


def batches(kind: Answers = "class") -> Iterator[Batch]:
    """All texts, those of similar length together."""
    texts = real(kind)
    order = np.argsort(-texts.features.lengths(), kind="stable")
    for first in range(0, len(order), 32):
        yield texts.batch(order[first : first + 32])


def stopped(model: Model, batch: Batch, policy: Safe) -> Adapted:
    given = with_first_row(model, batch)
    there = batch["labels"] != IGNORED if "select" in batch else None
    options: dict[str, Any] = {"mask": given.get("mask"), "select": given["select"], "real": there}
    return adaptive(model, given["input_ids"], policy=policy, **options)


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
    assert len(depths) == len(real().features)
    assert len(set(depths)) > 1, "all stopped at one depth: the test shows nothing"
    assert set(classes) <= set(range(len(LABELS))) and len(set(classes)) > 1, "one class for all: it shows nothing"


@EVERY
@pytest.mark.parametrize("kind", ["labels", "number", "tags"])
def test_real_texts_get_every_label_number_and_tag_of_the_full_depth(name: str, kind: Answers):
    """A number within the tolerance that is asked, every label, the tag of every word."""
    model, depths, given = learnt(name, kind), [], []
    for batch in batches(kind):
        adapted, full = stopped(model, batch, Safe(tolerance=TOLERANCE)), in_full(model, batch)
        found = adapted.answers
        if kind == "number":
            assert (found - full).abs().max() <= TOLERANCE + 1e-4  # of answers near 50, in float32
        elif kind == "labels":
            assert ((found > 0) == (full > 0)).all()
        else:
            words = batch["labels"] != IGNORED
            found, full = found.argmax(-1)[words], full.argmax(-1)[words]
            assert (found == full).all()
        depths += adapted.depth.tolist()
        given += ((full > 0) if kind == "labels" else full).flatten().tolist()
    assert len(depths) == len(real(kind).features)
    assert len(set(depths)) > 1, "all stopped at one depth: the test shows nothing"
    assert len(set(given)) > 1, "one answer for all: it shows nothing"


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
