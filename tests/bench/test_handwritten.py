"""The benchmark's handwritten encoder is an oracle: with our weights it gives our loss, and its gradients are ours."""

import torch
from torch.testing import assert_close

from slimbert.bench.handwritten import HandwrittenBert
from slimbert.model.heads import MaskedLmConfig
from slimbert.model.model import Model, ModelConfig, fresh
from slimbert.model.presets import from_pattern
from slimbert.parts.core import use_core
from slimbert.train.objectives import MaskedLm

LAYERS, DIM, HEADS, VOCAB = 3, 32, 2, 50


def copied(model: Model) -> HandwrittenBert:
    """The handwritten encoder with the weights of ours."""
    made = HandwrittenBert(layers=LAYERS, dim=DIM, heads=HEADS, vocab=VOCAB, max_len=16)
    ours, names = model.state_dict(), {"token": "token", "place": "position", "kind": "token_type", "first": "norm"}
    pairs = {f"{mine}.weight": f"encoder.embedding.{theirs}.weight" for mine, theirs in names.items()}
    pairs["first.bias"] = "encoder.embedding.norm.bias"
    for i in range(LAYERS):
        for mine, theirs in {
            "qkv": "0.mixer.qkv", "out": "0.mixer.out", "norm1": "0.norm",
            "up": "1.mixer.up", "down": "1.mixer.down", "norm2": "1.norm",
        }.items():  # fmt: skip
            pairs |= {f"{mine}.{i}.{end}": f"encoder.layers.{i}.{theirs}.{end}" for end in ("weight", "bias")}
    pairs |= {
        f"{m}.{e}": f"head.{t}.{e}" for m, t in (("dense", "dense"), ("last", "norm")) for e in ("weight", "bias")
    }
    made.load_state_dict({mine: ours[theirs] for mine, theirs in pairs.items()} | {"bias": ours["head.bias"]})
    return made


def test_handwritten_loss_and_gradients_are_ours() -> None:
    encoder = from_pattern(f"{LAYERS}{{sf}}", dim=DIM, head_dim=DIM // HEADS, vocab=VOCAB, max_len=16)
    model = fresh(ModelConfig(encoder=encoder, head=MaskedLmConfig()), 0)
    use_core(model, "explicit")
    by_hand, objective = copied(model), MaskedLm(model)
    ids = torch.randint(VOCAB, (4, 12), generator=torch.Generator().manual_seed(1))
    positions = torch.tensor([[0, 3, 7], [1, 2, 11], [4, 5, 6], [0, 1, 2]])
    weights = torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]])
    batch = {"input_ids": ids, "positions": positions, "labels": ids.gather(1, positions), "weights": weights}
    theirs, ours = by_hand(batch), objective(batch).total
    assert_close(theirs, ours, rtol=1e-5, atol=1e-6)  # float32, the same products in another order
    theirs.backward()
    ours.backward()
    assert_close(by_hand.token.weight.grad, model.encoder.embedding.token.weight.grad, rtol=1e-4, atol=1e-6)
