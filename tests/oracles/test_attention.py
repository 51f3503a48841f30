"""Attention and whole layers against torch's own."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from slimbert.model.encoder import Encoder
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.mlp import GluConfig, MlpConfig
from slimbert.parts.norm import LayerNormConfig
from slimbert.parts.residual import LayerConfig
from slimbert.state import Context, State
from toys import DIM, Batch, encoder_of, lively, mixer_of, model_of

CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32, sums in another order


@pytest.mark.parametrize("bias", [True, False])
def test_attention_is_torchs(bias: bool):
    batch = Batch()
    ours = mixer_of(AttentionConfig(heads=4, head_dim=DIM // 4, bias=bias))
    theirs = lively(nn.MultiheadAttention(DIM, 4, bias=bias, batch_first=True))
    with torch.no_grad():
        ours.qkv.weight.copy_(theirs.in_proj_weight)
        ours.out.weight.copy_(theirs.out_proj.weight)
        if bias:
            ours.qkv.bias.copy_(theirs.in_proj_bias)
            ours.out.bias.copy_(theirs.out_proj.bias)
    expected, _ = theirs(batch.x, batch.x, batch.x, key_padding_mask=~batch.mask, need_weights=False)
    assert_close(ours(batch.x, Context(batch.x, batch.mask))[batch.mask], expected[batch.mask], **CLOSE)


@pytest.mark.parametrize("wiring", ["post", "pre"])
@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_an_encoder_is_torchs(wiring: str, act: str):
    batch = Batch()
    mix = (AttentionConfig(heads=4, head_dim=DIM // 4), MlpConfig(hidden=48, act=act))
    layer = LayerConfig(mix=mix, wiring=wiring, norm=LayerNormConfig(eps=1e-5))
    ours: Encoder = model_of(encoder_of(layer, layer, final_norm=LayerNormConfig(eps=1e-5))).encoder
    one = nn.TransformerEncoderLayer(
        DIM, 4, 48, dropout=0.0, activation=act, batch_first=True, norm_first=wiring == "pre"
    )
    theirs = lively(nn.TransformerEncoder(one, 2, norm=nn.LayerNorm(DIM), enable_nested_tensor=False)).train()
    with torch.no_grad():
        ours.norm.load_state_dict(theirs.norm.state_dict())
        for mine, other in zip(ours.layers, theirs.layers):
            attend, feed = mine[0].mixer, mine[1].mixer
            attend.qkv.weight.copy_(other.self_attn.in_proj_weight)
            attend.qkv.bias.copy_(other.self_attn.in_proj_bias)
            for to, source in (
                (attend.out, other.self_attn.out_proj), (feed.up, other.linear1), (feed.down, other.linear2),
                (mine[0].norm, other.norm1), (mine[1].norm, other.norm2),
            ):  # fmt: skip
                to.load_state_dict(source.state_dict())
    state = State(batch.x, batch.mask)
    for step in ours.layers:
        state = step(state)
    expected = theirs(batch.x, src_key_padding_mask=~batch.mask)
    assert_close(ours.norm(state.x)[batch.mask], expected[batch.mask], **CLOSE)


def test_glu_is_its_formula():
    batch = Batch()
    glu = mixer_of(GluConfig(hidden=48))
    gate, up = glu.gate_up.weight.chunk(2)
    expected = (nn.functional.gelu(batch.x @ gate.T) * (batch.x @ up.T)) @ glu.down.weight.T
    assert_close(glu(batch.x, Context(batch.x)), expected, **CLOSE)
