"""transformers' ELECTRA loop: one embedding, it learns; and with its weights ours has its losses."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import ElectraConfig, PreTrainedModel

from slimbert.hf import convert
from slimbert.hf.peers import Shape, stock_batch
from slimbert.hf.peers_electra import Electra, electra_step
from slimbert.model import Model
from slimbert.train.replaced import ReplacedTokens

TOY = Shape(layers=2, dim=32, heads=2, vocab=64, max_len=16)
TABLE, MASK = 24, 3


def masked(rows: int = 4) -> dict[str, Tensor]:
    """A toy batch: two places of a row are hidden."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, TOY.vocab, (rows, 12), generator=generator)
    positions = torch.tensor([[2, 5]]).repeat(rows, 1)
    labels = ids.gather(1, positions)
    draws = torch.rand(labels.shape, generator=generator)
    shown = ids.scatter(1, positions, MASK)
    return {
        "input_ids": shown, "positions": positions, "labels": labels, "weights": torch.ones(rows, 2), "draws": draws
    }  # fmt: skip


def made(dropout: float = 0.0) -> Electra:
    torch.manual_seed(0)
    return Electra(TOY, table=TABLE, width=0.5, dropout=dropout)


def test_both_models_embed_with_one_table():
    peer = made()
    table = peer.discriminator.electra.embeddings.word_embeddings.weight
    assert peer.generator.electra.embeddings.word_embeddings.weight is table
    assert peer.generator.generator_lm_head.weight is table
    assert sum(p.shape == table.shape for p in peer.parameters()) == 1
    config: ElectraConfig = peer.generator.config
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (16, 1, 64)


def test_a_step_learns_its_batch():
    step = electra_step(TOY, [masked()], table=TABLE, precision="float32", tuned=True)
    losses = [step() for _ in range(50)]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_ours_has_its_losses_with_its_weights(tmp_path: Path):
    """Both by conversion; the same ids written in. 1e-5: float32."""
    peer = made().eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    ours = ReplacedTokens(_ours(peer.discriminator, tmp_path / "d"), _ours(peer.generator, tmp_path / "g")).eval()
    batch = masked()
    stock = stock_batch(batch)
    with torch.no_grad():
        loss, seen = ours.read(ours.encode, batch)
        guessed = peer.generator(**stock)
        places = batch["positions"][..., None].expand(-1, -1, TOY.vocab)
        torch.testing.assert_close(ours.guess(batch)[0], guessed.logits.gather(1, places), rtol=1e-4, atol=1e-5)
        assert float(loss.parts["mlm"]) == pytest.approx(float(guessed.loss), rel=1e-5)
        original = batch["input_ids"].scatter(1, batch["positions"], batch["labels"])
        written: list[Tensor] = []
        ours.model.encoder.register_forward_pre_hook(lambda _, given: written.append(given[0]))
        ours.read(ours.encode, batch)
        found = peer.discriminator(written[0], labels=(written[0] != original).long())
    torch.testing.assert_close(seen.scores, found.logits, rtol=1e-4, atol=1e-5)
    assert float(loss.parts["rtd"]) == pytest.approx(float(found.loss), rel=1e-5)
    assert float(loss.total) == pytest.approx(float(guessed.loss + 50 * found.loss), rel=1e-5)


def _ours(theirs: PreTrainedModel, folder: Path) -> Model:
    theirs.save_pretrained(folder)
    return convert.read(folder)[0]
