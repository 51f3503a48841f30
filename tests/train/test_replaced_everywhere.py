"""Every family of encoders, narrowing and position scheme learns from replaced tokens, and is read elsewhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from slimbert.model import EncoderConfig, ModelConfig, fresh, load_model, save_model
from slimbert.model.generator import generator_of
from slimbert.model.heads import MaskedLmConfig, ReplacedTokenConfig
from slimbert.model.presets import LETTERS, from_pattern
from slimbert.parts.embedding import TokensConfig
from slimbert.parts.position import AlibiConfig, RotaryConfig
from slimbert.train.engine import engine
from slimbert.train.loop import train
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.replaced import ReplacedTokens

VOCAB, SEQ, DIM = 60, 16, 64
FORMS = {  # of a layer {xy}, x the mixers up to the last that reads other rows
    "bert": {"wide": "2{sf}", "sparse": "1{sf}:1{sf}", "context first": "1{sf},1{s}:1{f}"},
    "convbert": {"wide": "2{mf}", "sparse": "1{mf}:1{mf}", "context first": "1{mf},1{m}:1{f}"},
    "groupbert": {"wide": "2{cgsg}", "sparse": "1{cgsg}:1{cgsg}", "context first": "1{cgsg},1{cs}:1{gg}"},
}
POSITIONS = {"absolute": None, "rotary": RotaryConfig(), "alibi": AlibiConfig()}
GRID = [
    (pattern, position)
    for forms in FORMS.values()
    for pattern in forms.values()
    for position in POSITIONS
    if {letter for letter in pattern if letter.isalpha()} <= set(LETTERS)
]


def encoder(pattern: str, position: str) -> EncoderConfig:
    made = from_pattern(pattern, dim=DIM, head_dim=16, hidden=128, vocab=VOCAB, max_len=SEQ)
    scheme = POSITIONS[position]
    if scheme is None:
        return made

    def turned(mixer: Any) -> Any:
        return replace(mixer, position=scheme) if hasattr(mixer, "position") else mixer

    layers = tuple(
        replace(step, mix=tuple(map(turned, step.mix))) if hasattr(step, "mix") else step for step in made.layers
    )
    return replace(made, layers=layers, embedding=TokensConfig(vocab=VOCAB, max_len=SEQ, norm=made.embedding.norm))


def toy_batch() -> dict[str, Tensor]:
    """Six rows, the last of them half padding; two places each, one of the last row is left over."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(5, VOCAB, (6, SEQ - 4), generator=draw)
    ids[-1, 6:] = 0
    positions = torch.tensor([[2, 5]]).repeat(6, 1)
    weights = torch.ones(6, 2)
    weights[-1, 1] = 0
    return {
        "input_ids": ids.scatter(1, positions[:, :1], 3),
        "mask": ids != 0,
        "positions": positions,
        "labels": ids.gather(1, positions),
        "weights": weights,
        "draws": torch.rand(positions.shape, generator=draw),
    }


@pytest.mark.parametrize(("pattern", "position"), GRID)
def test_it_learns_and_is_read_elsewhere(pattern: str, position: str, tmp_path: Path):
    """The generator narrows as its model does. Both folders load alone, also in transformers; padding is nothing."""
    from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

    import slimbert.hf  # noqa: F401

    shape = encoder(pattern, position)
    model = fresh(ModelConfig(encoder=shape, head=ReplacedTokenConfig()), 0)
    generator = fresh(ModelConfig(encoder=generator_of(shape, width=0.5), head=MaskedLmConfig()), 1)
    objective, batch = ReplacedTokens(model, generator), toy_batch()
    optimizer = adamw(objective, OptimConfig(lr=3e-3))
    steps = list(train(objective, [batch] * 12, optimizer, accelerator=engine(device="cpu")))
    assert sum(step.loss for step in steps[-3:]) / 3 < 0.95 * steps[0].loss
    save_model(objective.eval().model, tmp_path / "model")
    save_model(generator, tmp_path / "generator")
    ids, mask = batch["input_ids"], batch["mask"]
    close = {"rtol": 1e-4, "atol": 1e-5}
    with torch.no_grad():
        scores = model(ids, mask=mask)
        wider = model(torch.nn.functional.pad(ids, (0, 3)), mask=torch.nn.functional.pad(mask, (0, 3)))
        assert_close(wider[:, : ids.shape[1]][mask], scores[mask], **close)
        assert_close(load_model(tmp_path / "model")(ids, mask=mask), scores, rtol=0, atol=0)
        theirs = AutoModel.from_pretrained(tmp_path / "model")(ids, attention_mask=mask.long())
        assert_close(theirs.last_hidden_state[mask], model.encoder(ids, mask=mask).state.x[mask], **close)
        options = {"mask": mask, "select": batch["positions"]}
        alone = load_model(tmp_path / "generator")(ids, **options)
        assert_close(alone, generator(ids, **options), rtol=0, atol=0)
        filled = AutoModelForMaskedLM.from_pretrained(tmp_path / "generator")(ids, attention_mask=mask.long()).logits
        places = batch["positions"][..., None].expand(-1, -1, VOCAB)
        assert_close(filled.gather(1, places), alone, **close)
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", num_labels=3)
    assert classifier(ids, attention_mask=mask.long()).logits.isfinite().all()
