"""Rows in parts: the answers and gradients of one pass, short rows apart from long ones, memory that does not grow."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from slimbert.model import Model, ModelConfig, fresh, with_dropout
from slimbert.model.heads import EmbedConfig, SequenceConfig
from slimbert.model.presets import from_pattern
from slimbert.state import Encoded
from slimbert.train.contrast import in_batch
from slimbert.train.objectives import Batch
from slimbert.train.supervised import Supervised, answer, one_class
from toys import lively

VOCAB, LONGEST = 50, 64
QUERY, PASSAGE = 6, 60  # tokens


def model(pattern: str = "2{sf}", *, dropout: float = 0.0, head: Any = None) -> Model:
    encoder = from_pattern(pattern, dim=16, head_dim=8, hidden=32, vocab=VOCAB, max_len=LONGEST)
    head = head or EmbedConfig(pool="cls" if ":" in pattern else "mean")
    made = lively(fresh(with_dropout(ModelConfig(encoder=encoder, head=head), dropout), 0))
    assert isinstance(made, Model)
    return made


def padded(lengths: list[int]) -> dict[str, Tensor]:
    """Rows of these lengths as one batch."""
    sizes = torch.tensor(lengths)
    mask = torch.arange(int(sizes.max())) < sizes[:, None]
    ids = torch.randint(5, VOCAB, mask.shape, generator=torch.Generator().manual_seed(0)) * mask
    return {"input_ids": ids, "mask": mask}


def pairs(count: int = 16) -> dict[str, Tensor]:
    """Queries of 4 to 6 tokens, passages of 50 to 60."""
    lengths = [length for i in range(count) for length in (QUERY - i % 3, PASSAGE - i % 11)]
    each = torch.arange(count)
    return padded(lengths) | {"texts": torch.arange(2 * count).view(count, 2), "labels": each, "anchors": each}


def reports(windows: int = 4, *, texts: int = 6) -> dict[str, Tensor]:
    """Texts of so many windows of 40 tokens; the last has one short window."""
    rows = [*([40] * windows * (texts - 1)), 7]
    places = torch.full((texts, windows), -1)
    places[:-1] = torch.arange(windows * (texts - 1)).view(-1, windows)
    places[-1, 0] = len(rows) - 1
    return padded(rows) | {"windows": places, "labels": torch.arange(texts) % 2}


class Watched(Supervised):
    """Keeps the shapes of what is encoded, and whether it came with a mask."""

    seen: list[tuple[tuple[int, int], bool]]

    def encode(self, params: Any, batch: Batch) -> Encoded:
        self.seen.append((tuple(batch["input_ids"].shape), "mask" in batch))
        return super().encode(params, batch)


def found(objective: Supervised, batch: Batch, *, seed: int = 0) -> list[Tensor]:
    """The loss, and the gradient of every parameter that has one."""
    torch.manual_seed(seed)
    loss = objective(batch).total
    made = torch.autograd.grad(loss, [p for p in objective.parameters() if p.requires_grad], allow_unused=True)
    return [loss.detach(), *(one for one in made if one is not None)]


def alike(first: list[Tensor], second: list[Tensor]) -> None:
    """Equal up to the order of sums in float32."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.fixture(autouse=True)
def parts_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts as large batches have them, at toy size."""
    monkeypatch.setattr("slimbert.train.chunked.PASS", 16)


@pytest.mark.parametrize("chunk", [None, 10_000, 240, 70])
@pytest.mark.parametrize("pattern", ["2{sf}", "1{sf}:1{sf}", "2{mf}"])
def test_pairs_in_parts_are_those_of_one_pass(pattern: str, chunk: int | None, monkeypatch: pytest.MonkeyPatch):
    made, batch = model(pattern), pairs()
    whole = partial(found, Supervised(made, in_batch, chunk=chunk), batch)
    several = whole()
    with torch.no_grad():
        answers = answer(made, batch, chunk=chunk)
    monkeypatch.setattr("slimbert.train.chunked.PASS", 10**9)  # one part
    alike(several, found(Supervised(made, in_batch), batch))
    with torch.no_grad():
        torch.testing.assert_close(answers, answer(made, batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("chunk", [None, 90, 40, 1])
def test_windows_in_parts_are_those_of_one_pass(chunk: int | None, how: Any, monkeypatch: pytest.MonkeyPatch):
    made, batch = model(head=SequenceConfig(labels=("a", "b"), pool="mean")), reports()
    several = found(Supervised(made, one_class, windows=how, chunk=chunk), batch)
    monkeypatch.setattr("slimbert.train.chunked.PASS", 10**9)
    alike(several, found(Supervised(made, one_class, windows=how), batch))


@pytest.mark.parametrize("batch", [pairs(), reports()], ids=["pairs", "reports"])
def test_what_is_computed_again_draws_the_same_dropout(batch: Batch, monkeypatch: pytest.MonkeyPatch):
    """The same parts with and without computing again."""
    head = EmbedConfig() if "texts" in batch else SequenceConfig(labels=("a", "b"), pool="mean")
    judge = in_batch if "texts" in batch else one_class
    objective = Supervised(model(dropout=0.3, head=head), judge, chunk=120).train()
    again = found(objective, batch, seed=7)
    monkeypatch.setattr("slimbert.train.chunked.checkpoint", lambda run, *given, use_reentrant: run(*given))
    kept = found(objective, batch, seed=7)
    alike(again, kept)
    assert not torch.allclose(found(objective, batch, seed=8)[0], kept[0])  # there is dropout


def watched(batch: Batch, *, chunk: int | None) -> list[tuple[tuple[int, int], bool]]:
    head = EmbedConfig() if "texts" in batch else SequenceConfig(labels=("a", "b"), pool="mean")
    objective = Watched(model(head=head), in_batch if "texts" in batch else one_class, chunk=chunk)
    objective.seen = []
    objective(batch).total.backward()
    return objective.seen


def test_each_side_is_padded_to_its_own_longest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("slimbert.train.chunked.PASS", 300)
    batch = pairs()
    assert [shape for shape, _ in watched(batch, chunk=None)] == [(16, QUERY), (16, PASSAGE)]
    assert [shape for shape, _ in watched(batch, chunk=8192)] == [(16, QUERY), (16, PASSAGE)]  # and nothing again


def test_a_part_without_padding_has_no_mask(monkeypatch: pytest.MonkeyPatch):
    batch = reports(windows=3, texts=3)  # six windows of 40 tokens and one of 7
    assert watched(batch, chunk=None) == [((1, 7), False), ((6, 40), False)]
    monkeypatch.setattr("slimbert.train.chunked.PASS", 1000)
    assert watched(batch, chunk=None) == [((7, 40), True)]


def test_no_more_tokens_at_a_time_than_asked():
    batch, chunk = reports(windows=8), 100
    seen = [shape for shape, _ in watched(batch, chunk=chunk)]
    assert all(rows * length <= chunk for rows, length in seen)
    parts = 21  # 40 windows two by two, and the short one
    assert len(seen) == 2 * parts - 1  # the last part is not computed again


@contextmanager
def kept_bytes() -> Iterator[list[int]]:
    """What is kept for the backward pass, but for what is computed again."""
    kept: dict[int, int] = {}
    total: list[int] = []

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        yield total
    total.append(sum(kept.values()))


def test_memory_does_not_grow_with_the_length_of_texts():
    head = SequenceConfig(labels=("a", "b"), pool="mean")
    sizes: dict[int | None, list[int]] = {400: [], None: []}
    for chunk, made in sizes.items():
        objective = Supervised(model(head=head), one_class, chunk=chunk)
        for windows in (4, 16):
            with kept_bytes() as total:
                loss = objective(reports(windows)).total
            loss.backward()
            made += total
    assert sizes[400][1] < 1.1 * sizes[400][0]
    assert sizes[None][1] > 3 * sizes[None][0]
