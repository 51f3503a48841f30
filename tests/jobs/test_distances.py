"""Distances of attention: closed forms, padding, and the picture."""

import dataclasses
from pathlib import Path

import pytest
import torch

from jobs.small import encoder_in
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.distances import _of_batch, head_distances
from slimbert.model import ModelConfig, fresh, save_model
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.core import Explicit, use_core
from slimbert.parts.mlp import MlpConfig
from toys import encoder_of, model_of


def test_flat_attention_has_the_mean_distance_of_all_places():
    """Queries of zero look everywhere alike; padding is neither looked at nor counted."""
    model = model_of(encoder_of(AttentionConfig(heads=2, head_dim=8)))
    with torch.no_grad():
        model.encoder.layers[0][0].mixer.qkv.weight.zero_()
        model.encoder.layers[0][0].mixer.qkv.bias.zero_()
    use_core(model, Explicit(keep_maps=True))
    lengths = (6, 4)
    ids = torch.ones(2, 6, dtype=torch.long)
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    [sums], tokens = _of_batch(model, {"input_ids": ids, "mask": mask})
    expected = sum(abs(i - j) / n for n in lengths for i in range(n) for j in range(n))
    assert tokens == 10
    assert sums == pytest.approx([expected, expected], rel=1e-5)


def test_encoders_side_by_side(tmp_path: Path, data: Path):
    text = tmp_path / "corpus.txt"
    text.write_text("bama kutu firi\n\ngoso bama bama\n\nkutu kutu\n")
    runs = [encoder_in(tmp_path / name, data, pattern) for name, pattern in (("a", "2{sf}"), ("b", "1{sf}:1{sf}"))]
    found = head_distances(runs, text, picture=tmp_path / "heads.png")
    assert [len(one.layers) for one in found.encoders] == [2, 2]
    assert all(0 < distance < 24 for one in found.encoders for heads in one.layers for distance in heads)
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")
    assert found.encoders[0].texts == 3


def test_what_cannot_be_looked_at(tmp_path: Path, data: Path):
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="no text"):
        head_distances([tmp_path], tmp_path / "empty.txt")


def test_an_encoder_without_attention(tmp_path: Path, data: Path):
    shards = Shards.open(data)
    encoder = encoder_of(MlpConfig(hidden=16))
    encoder = dataclasses.replace(encoder, embedding=dataclasses.replace(encoder.embedding, vocab=shards.vocab_size))
    save_model(fresh(ModelConfig(encoder=encoder), 0), tmp_path / "m")
    TextTokenizer.load(shards.tokenizer_folder).save(tmp_path / "m")
    (tmp_path / "c.txt").write_text("bama kutu\n")
    with pytest.raises(InputError, match="no attention"):
        head_distances([tmp_path / "m"], tmp_path / "c.txt")
