"""What the tests of tickets share: the encoders that they run over, an objective with a head, toy batches.

To run every property over another encoder, add one entry to ENCODERS.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from slimbert.methods.tickets import DrawConfig, HeadsConfig, NeuronsConfig
from slimbert.model import ModelConfig, fresh, presets, with_dropout
from slimbert.model.encoder import EncoderConfig
from slimbert.model.heads import SequenceConfig
from slimbert.model.model import Model
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.norm import LayerNormConfig
from slimbert.parts.position import RotaryConfig
from slimbert.parts.residual import LayerConfig
from slimbert.train.supervised import Supervised, one_class
from toys import LENGTHS, VOCAB, encoder_of, lively, toy_encoder

SIZES: dict[str, Any] = {"dim": 32, "head_dim": 8, "hidden": 48, "vocab": VOCAB, "max_len": 16}
TURNED = LayerConfig(
    mix=(AttentionConfig(heads=4, head_dim=8, position=RotaryConfig()), MlpConfig(hidden=48)), wiring="pre"
)
ENCODERS: dict[str, EncoderConfig] = {
    "bert": presets.from_pattern("3{sf}", **SIZES),
    "rotary, pre-norm": encoder_of(TURNED, TURNED, final_norm=LayerNormConfig()),
    "narrow": presets.from_pattern("1{sf}:2{sf}", **SIZES),
    "context first": presets.from_pattern("1{sf},1{s}:1{f}", **SIZES),
    "convbert": presets.from_pattern("2{mf}", **SIZES),
    "narrow convbert": presets.from_pattern("1{mf}:1{mf}", **SIZES),
    "groupbert": presets.from_pattern("2{cgsg}", **SIZES),
    "narrow groupbert": presets.from_pattern("1{cgsg}:1{cgsg}", **SIZES),
    "mixed, grouped, convolving": toy_encoder(),
}
EVERY = pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
RULE = DrawConfig(heads=HeadsConfig(cut=0.3), neurons=NeuronsConfig(cut=0.4, multiple=4))  # toy widths are no 16s
LABELS = ("a", "b", "c")


def model_of(encoder: EncoderConfig, *, dropout: float = 0.0, seed: int = 0) -> Model:
    """A lively model that classifies by its first token."""
    config = ModelConfig(encoder=encoder, head=SequenceConfig(labels=LABELS, pool="cls", hidden=None))
    model = lively(fresh(with_dropout(config, dropout), seed), seed)
    assert isinstance(model, Model)
    return model


def objective_of(encoder: EncoderConfig, *, dropout: float = 0.0, seed: int = 0) -> Supervised:
    return Supervised(model_of(encoder, dropout=dropout, seed=seed), one_class)


def batches(seed: int = 0) -> Iterator[dict[str, Tensor]]:
    """Ragged rows whose label is in their first token."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(12) < torch.tensor(LENGTHS * 2)[:, None]
    while True:
        ids = torch.randint(0, VOCAB, (6, 12), generator=generator)
        yield {"input_ids": ids, "mask": mask, "labels": ids[:, 0] % 3}


def one_batch(seed: int = 0) -> dict[str, Tensor]:
    return next(batches(seed))
