"""NarrowBERT against a plain reference: one text at a time, unpadded, sublayer by sublayer, with the weights of ours.

Li et al. 2023, arXiv:2301.04761, as their published code computes it. s(x) = norm(x + attend(x; kv)) and f(x) =
norm(x + down gelu(up x)); left of the colon kv = x, right of it kv is what x was at the colon. `refreshed`: kv = x
everywhere and all rows to the end, which is BERT.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from slimbert.model.model import Model
from slimbert.model.presets import from_pattern
from slimbert.parts.attention import Attention
from slimbert.parts.narrow import Narrow
from toys import LENGTHS, SELECT, VOCAB, Batch, model_of

PATTERNS = ["1{sf}:3{sf}", "3{sf}:1{sf}", "4{sf}:s", ":4{sf}", "2{sf},2{s}:2{f}", "3{s}:3{f}", "s,{fs}:{sf},s,2{f}"]
EXACT = {"rtol": 1e-9, "atol": 1e-9}  # float64; sums in another order


def sublayer(residual: Any, x: Tensor, kv: Tensor) -> Tensor:
    """x [K, D] -> [K, D]."""
    mixer, norm = residual.mixer, residual.norm
    if isinstance(mixer, Attention):
        (wq, wk, wv), (bq, bk, bv) = mixer.qkv.weight.chunk(3), mixer.qkv.bias.chunk(3)
        q, k, v = x @ wq.T + bq, kv @ wk.T + bk, kv @ wv.T + bv
        heads = []
        for one in torch.arange(q.shape[1]).chunk(mixer.heads):
            scores = q[:, one] @ k[:, one].T / math.sqrt(len(one))
            heads.append(torch.softmax(scores, dim=-1) @ v[:, one])
        y = torch.cat(heads, dim=-1) @ mixer.out.weight.T + mixer.out.bias
    else:
        y = functional.gelu(x @ mixer.up.weight.T + mixer.up.bias) @ mixer.down.weight.T + mixer.down.bias
    return functional.layer_norm(x + y, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def reference(model: Model, ids: Tensor, keep: list[int], *, refreshed: bool = False) -> Tensor:
    """ids [n] -> the kept rows [K, D]."""
    x, memory = model.encoder.embedding(ids[None])[0], None
    for step in model.encoder.layers:
        if isinstance(step, Narrow):
            x, memory = (x, None) if refreshed else (x[keep], x)
            continue
        for residual in step:
            x = sublayer(residual, x, x if memory is None else memory)
    return x if memory is not None else x[keep]


def made(pattern: str) -> Model:
    """Lively weights in float64; a pattern that begins with the colon narrows the embeddings."""
    sizes = {"dim": 32, "head_dim": 8, "hidden": 48, "vocab": VOCAB, "max_len": 16}
    if pattern.startswith(":"):
        encoder = from_pattern(f"f{pattern}", **sizes)
        encoder = type(encoder)(dim=32, embedding=encoder.embedding, layers=encoder.layers[1:])
    else:
        encoder = from_pattern(pattern, **sizes)
    return model_of(encoder).double()


def differences(model: Model, *, refreshed: bool) -> list[float]:
    batch = Batch()
    with torch.no_grad():
        kept = model(batch.ids, mask=batch.mask, select=batch.select)
        plain = [
            reference(model, batch.ids[b, :n], list(keep), refreshed=refreshed)
            for b, (n, keep) in enumerate(zip(LENGTHS, SELECT, strict=True))
        ]
    return [float((row - one).abs().max()) for row, one in zip(kept, plain, strict=True)]


@pytest.mark.parametrize("absorb", [None, True, False], ids=["by the rule", "absorbed", "projected"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_text_of_a_padded_batch_is_the_reference_alone(pattern: str, absorb: bool | None):
    model = made(pattern)
    for module in model.modules():
        if isinstance(module, Attention):
            module.absorb = absorb
    assert max(differences(model, refreshed=False)) < 1e-9


@pytest.mark.parametrize(
    ("pattern", "same"),
    [("3{sf}:1{sf}", True), ("4{sf}:s", True), ("3{sf},s:f", True), ("2{sf}:2{sf}", False), ("1{sf}:3{sf}", False)],
)
def test_bert_is_met_where_one_layer_or_less_reads_the_memory(pattern: str, same: bool):
    """Property 1 of the published code, and its guard: further layers must not read what kept rows have become."""
    found = max(differences(made(pattern), refreshed=True))
    assert (found < 1e-9) if same else (found > 1e-2)


def test_context_first_is_every_sublayer_on_all_rows():
    model = made("2{sf},2{s}:2{f}")
    assert max(differences(model, refreshed=True)) < 1e-9


@pytest.mark.parametrize("pattern", ["1{sf}:3{sf}", "2{sf},2{s}:2{f}"])
@pytest.mark.parametrize("absorb", [True, False], ids=["absorbed", "projected"])
def test_gradients_are_those_of_the_reference(pattern: str, absorb: bool):
    model, batch = made(pattern), Batch()
    for module in model.modules():
        if isinstance(module, Attention):
            module.absorb = absorb
    weight = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def gradients(rows: Tensor) -> dict[str, Tensor]:
        model.zero_grad()
        (rows * weight).sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    ours = gradients(model(batch.ids, mask=batch.mask, select=batch.select))
    plain = [reference(model, batch.ids[b, :n], list(SELECT[b])) for b, n in enumerate(LENGTHS)]
    assert_close(ours, gradients(torch.stack(plain)), **EXACT)
