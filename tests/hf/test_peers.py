"""The baselines are really transformers' own, and learn; nothing here is measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from slimbert.hf import peers
from slimbert.hf.masked_lm import NOT_PREDICTED

TOY = peers.Shape(layers=2, dim=32, heads=2, vocab=64, max_len=16)


def masked(rows: int = 4) -> dict[str, Tensor]:
    """A toy batch as our masking gives it: two predicted places per row, the last row with one of weight 0."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.ones(rows, 2)
    weights[-1, 1] = 0
    positions = torch.tensor([[2, 5]]).repeat(rows, 1)
    positions[-1, 1] = 2  # a place of weight 0 may repeat a real one
    return {
        "input_ids": torch.randint(5, 64, (rows, 12), generator=generator),
        "positions": positions,
        "labels": torch.randint(5, 64, (rows, 2), generator=generator),
        "weights": weights,
    }


def test_stock_batch_keeps_exactly_the_weighted_labels():
    ours = masked()
    labels = peers.stock_batch(ours)["labels"]
    assert (labels != NOT_PREDICTED).sum() == ours["weights"].sum()
    assert torch.equal(labels[:-1, [2, 5]], ours["labels"][:-1])
    assert labels[-1, 2] == ours["labels"][-1, 0]
    assert labels[-1, 5] == NOT_PREDICTED


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_stock_step_learns_its_batch(precision: peers.Precision):
    """50 updates on one batch lower the loss; the start is near ln 64, the loss of a uniform guess."""
    step = peers.pretrain_step(TOY, [masked()], precision=precision)
    losses = [float(step()) for _ in range(50)]
    assert losses[0] == pytest.approx(np.log(64), rel=0.1)  # initial logits are small, not 0
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_tuned_has_no_dropout_and_is_compiled(monkeypatch: pytest.MonkeyPatch):
    """Compiling itself takes a minute and belongs to the benchmark; here only that it is asked for."""
    seen: list[torch.nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda model: seen.append(model) or model)
    step = peers.pretrain_step(TOY, [masked()], precision="float32", tuned=True)
    step()
    (model,) = seen
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    assert model.config.attention_probs_dropout_prob == 0.0


def test_validation_loss_weighs_positions_not_batches():
    """The mean over two batches of unequal counts equals one batch of both (float32, rounding of sums)."""
    model = peers.bert(TOY, dropout=0.0)
    small, large = masked(2), masked(6)
    both = {k: torch.cat([small[k], large[k]]) for k in small}
    apart = peers.validation_loss(model, [peers.stock_batch(b) for b in (small, large)], precision="float32")
    joint = peers.validation_loss(model, [peers.stock_batch(both)], precision="float32")
    assert apart == pytest.approx(joint, rel=1e-5)
    assert model.training


@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pairs"])
def test_plain_finetuning_learns_an_easy_task(tmp_path: Path, pairs: bool):
    """Class 1 has the token 7: predictions come back in the order of the test examples, whatever their lengths."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=16,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 64)
    ids = [
        np.where(np.arange(n) == n - 1, 7 if y else 6, 5) for n, y in zip(draw.integers(3, 10, 64), labels, strict=True)
    ]
    types = [np.arange(len(x)) % 2 for x in ids] if pairs else None
    examples = peers.Examples(ids=ids, labels=labels, types=types)
    batches = [np.split(np.argsort([len(x) for x in ids], kind="stable"), 8)] * 15

    done = peers.finetune(
        tmp_path, examples, examples, classes=2, batches=batches, precision="float32", lr=3e-3, batch_size=24
    )

    assert (done.predictions == labels).mean() > 0.95
    assert done.train_tokens == 15 * sum(map(len, ids))
    assert done.train_seconds > 0
    assert done.test_seconds > 0
