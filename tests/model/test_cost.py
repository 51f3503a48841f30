"""The cost of parts: sums of what torch counts for the whole model, and the closed forms of the docstrings."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import grid
from slimbert.model.cost import cost
from slimbert.model.heads import EmbedConfig, MaskedLmConfig, ReplacedTokenConfig, SequenceConfig
from slimbert.model.model import ModelConfig, fresh, skeleton
from slimbert.model.presets import PRESETS, from_pattern
from slimbert.parts import absorbed, mixed
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.convolution import ConvolutionConfig
from slimbert.parts.core import use_core
from slimbert.parts.dynamic import of_taps
from slimbert.parts.embedding import AbsoluteConfig
from slimbert.parts.mixed import MixedAttentionConfig
from slimbert.parts.mlp import GluConfig, MlpConfig
from slimbert.parts.taps import gathered
from slimbert.state import Context
from toys import DIM, VOCAB, encoder_of, model_of, toy_encoder

B, S, K = 2, 12, 3
MIXED = from_pattern("1{mf}:1{mf}", dim=64, head_dim=16)
NARROW, DENSE = from_pattern("1{sf}:1{sf}", dim=64, head_dim=16), from_pattern("2{sf}", dim=64, head_dim=16)

HEADS = [None, MaskedLmConfig(), ReplacedTokenConfig(), SequenceConfig(labels=("a", "b")), EmbedConfig()]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("encoder", [toy_encoder(), NARROW, DENSE, MIXED], ids=["toy", "narrow", "dense", "mixed"])
@pytest.mark.parametrize("keep", [None, K])
@pytest.mark.parametrize("training", [True, False])
def test_parts_add_up_to_the_model(encoder: Any, head: Any, keep: int | None, training: bool):
    adds_up(ModelConfig(encoder=encoder, head=head), keep, training=training)


@pytest.mark.parametrize("objective", grid.OBJECTIVES)
@pytest.mark.parametrize("shape", grid.SHAPES, ids="-".join)
def test_parts_add_up_whatever_is_combined(shape: tuple[str, str, str], objective: str):
    """Families, narrowings and positions as they are pretrained: the chosen rows; or all, beside a generator's few."""
    made = grid.objective_of(grid.encoder(*shape), objective)
    adds_up(made.model.config, K if objective == "mlm" else None, training=True)
    for generator in made.beside().values():
        adds_up(generator.config, K, training=True)


def adds_up(config: ModelConfig, keep: int | None, *, training: bool) -> None:
    """What `cost` says of the parts is what torch counts of the whole."""
    parts = cost(config, batch=B, length=S, keep=keep, training=training)
    model = skeleton(config)
    use_core(model, "explicit")
    assert sum(p.parameters for p in parts) == sum(p.numel() for p in model.parameters())
    ids = torch.zeros(B, S, dtype=torch.long, device="meta")
    with torch.set_grad_enabled(training), FlopCounterMode(display=False) as counter:
        encoded = model.encoder(ids, select=None if keep is None else ids[:, :keep])
        if model.head is not None:
            model.answer(encoded)
    assert sum(p.macs for p in parts) == pytest.approx(counter.get_total_flops() / 2, rel=0.01)
    assert training == any(p.activation_bytes for p in parts)


@pytest.mark.parametrize("pattern", ["1{mf}", "1{sf}:1{mf}", "1{mf}:1{cgsg}"])
@pytest.mark.parametrize("length", [24, 128])
def test_parts_are_what_is_counted_of_a_real_run(pattern: str, length: int):
    """At the width of the base size, below and above the length from which a dynamic convolution is a product of bands:
    torch then counts none, or 40/9 of its multiply-adds, which is less than 1% of a layer."""
    config = ModelConfig(encoder=from_pattern(pattern, dim=768, vocab=VOCAB))
    keep = length * 3 // 20 if ":" in pattern else None
    model, ids = fresh(config, 0), torch.zeros(1, length, dtype=torch.long)
    use_core(model, "explicit")
    with FlopCounterMode(display=False) as counter:
        model(ids, select=None if keep is None else ids[:, :keep])
    counted = sum(p.macs for p in cost(config, length=length, keep=keep, training=True))
    assert counted == pytest.approx(counter.get_total_flops() / 2, rel=0.01)


RUN = [shape for shape in grid.SHAPES if shape[2] == "absolute" or shape[1:] == ("sparse queries", "rotary")]


@pytest.mark.parametrize("objective", grid.OBJECTIVES)
@pytest.mark.parametrize("shape", RUN, ids="-".join)
def test_what_is_counted_of_a_real_run_whatever_is_combined(
    shape: tuple[str, str, str], objective: str, monkeypatch: pytest.MonkeyPatch
):
    """With its head, and with numbers in it. Dynamic convolutions run as products of gathered taps, which torch counts;
    their own forms add in place."""

    def of_gathered(u: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        taps = gathered(u.flatten(2), Context(u), w.shape[-1])
        return of_taps(taps.unflatten(-1, u.shape[2:]), w)

    monkeypatch.setattr(mixed, "convolve", of_gathered)
    made = grid.objective_of(grid.encoder(*shape), objective)
    for model, keep in ((made.model, K if objective == "mlm" else None), *((one, K) for one in made.beside().values())):
        use_core(model, "explicit")
        ids = torch.zeros(B, S, dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            model(ids, select=None if keep is None else ids[:, :keep])
        counted = sum(part.macs for part in cost(model.config, batch=B, length=S, keep=keep, training=True))
        assert counted == pytest.approx(counter.get_total_flops() / 2, rel=0.01)


@pytest.mark.parametrize("absorb", [False, True], ids=["projected", "absorbed"])
@pytest.mark.parametrize("m", [1, 5])
def test_a_real_run_is_the_closed_form(m: int, absorb: bool):
    """Of m kept rows of n, in multiply-adds: a whole layer, then layers for the kept rows that project keys and values
    of all, or absorb them; a head on the kept rows. Context first narrows its last attention, too."""
    d, n, heads = 64, 24, 4
    attention, network = 4 * n * d * d + 2 * n * n * d, 8 * d * d
    few = 4 * m * d * d + 2 * m * n * heads * d if absorb else 2 * n * d * d + 2 * m * d * d + 2 * m * n * d
    head = m * d * d + m * d * VOCAB
    whole = attention + n * network
    closed = {
        "1{sf}:3{sf}": whole + 3 * (few + m * network) + head,
        "1{sf},3{s}:3{f}": whole + 2 * attention + few + 3 * m * network + head,
    }
    for pattern, macs in closed.items():
        encoder = from_pattern(pattern, dim=d, head_dim=d // heads, vocab=VOCAB, max_len=n)
        model = fresh(ModelConfig(encoder=encoder, head=MaskedLmConfig()), 0)
        use_core(model, "explicit")
        for module in model.modules():
            if hasattr(module, "absorb"):
                module.absorb = absorb
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, n, dtype=torch.long), select=torch.arange(m)[None])
        assert counter.get_total_flops() / 2 == macs, pattern


def test_what_is_counted_runs_with_gradients_and_without():
    """32 of 128 rows at the width of the base size: a layer that reads a memory absorbs its keys and values in training
    and projects them in an answer, because absorbed products are dearer there."""
    config = ModelConfig(encoder=from_pattern("f:sf", dim=768, vocab=VOCAB))
    model, ids = fresh(config, 0).eval(), torch.zeros(1, 128, dtype=torch.long)
    use_core(model, "explicit")
    found = {}
    for training in (True, False):
        with torch.set_grad_enabled(training), FlopCounterMode(display=False) as counter:
            model(ids, select=ids[:, :32])
        found[training] = sum(p.macs for p in cost(config, length=128, keep=32, training=training))
        assert found[training] == counter.get_total_flops() / 2
    assert found[False] - found[True] == 2 * 128 * 768 * (768 + 32) - 2 * 32 * 768 * (768 + 128 * 12)


def of_mixer(mixer: Any) -> int:
    """Multiply-adds of one mixer, all rows of the batch."""
    (part,) = (p for p in cost(ModelConfig(encoder=encoder_of(mixer)), batch=B, length=S) if p.name == "layers.0.0")
    assert part.kind == mixer.kind
    return part.macs


@pytest.mark.parametrize(
    ("mixer", "per_token"),
    [
        (AttentionConfig(heads=3, head_dim=8), (4 * DIM + 2 * S) * 3 * 8),
        (
            MixedAttentionConfig(heads=3, conv_heads=2, span_heads=4, head_dim=8, kernel=5),
            DIM * (3 * 24 + 2 * 16 + 2 * 32) + 2 * S * 24 + 5 * (DIM + 16 + 32 * 2),
        ),
        (MlpConfig(hidden=48), 2 * DIM * 48),
        (MlpConfig(hidden=48, groups=4, mixer=True), DIM * 48 * 5 // 4 + DIM * DIM),
        (MlpConfig(hidden=48, groups=2, up_groups=4), DIM * 48 * 3 // 4),
        (GluConfig(hidden=48), 3 * DIM * 48),
        (GluConfig(hidden=48, groups=4), DIM * 48 * 9 // 4),
        (ConvolutionConfig(), 3 * DIM**2 + 7 * 16 * DIM),
        (ConvolutionConfig(kernel=5, group=1, glu=False), 2 * DIM**2 + 5 * DIM),
    ],
)
def test_docstrings_count_right(mixer: Any, per_token: int):
    assert of_mixer(mixer) == B * S * per_token


def test_embeddings_and_heads_count_as_they_say():
    encoder = dataclasses.replace(DENSE, embedding=AbsoluteConfig(vocab=VOCAB, width=16, max_len=16))
    parts = {p.name: p for p in cost(ModelConfig(encoder=encoder, head=MaskedLmConfig()), batch=B, length=S, keep=K)}
    assert list(parts) == ["embedding", "layers.0.0", "layers.0.1", "layers.1.0", "layers.1.1", "head"]
    assert parts["embedding"].macs == B * S * 16 * 64
    assert parts["head"].macs == B * K * (64 * 16 + 16 * VOCAB)
    assert parts["head"].parameters == 64 * 16 + 16 + 2 * 16 + VOCAB
    labels = ModelConfig(encoder=encoder, head=SequenceConfig(labels=("a", "b", "c")))
    assert cost(labels, batch=B, length=S)[-1].macs == B * (64 * 64 + 64 * 3)


@pytest.mark.parametrize(
    ("name", "electra", "mmacs", "ratio"),
    [
        ("convbert_small", "electra_small", 9.54, 0.93),
        ("convbert_medium_small", None, 14.06, 0.625),
        ("convbert_base", "electra_base", 82.95, 0.95),
    ],
)
def test_convbert_costs_what_its_formula_says(name: str, electra: str | None, mmacs: float, ratio: float):
    """With A = d / 2 per layer and token: 3.5 d^2 + 8 d^2 / g + n d + (d / 2) (H / 2) k + 1.5 k d, and E d before them.

    The formula of the paper's operations also has d / 2 for the product of span and query, which is not counted here:
    less than 0.1%. Its million multiply-adds at 128 tokens, and their ratio to an ELECTRA of the same shape, follow.
    """
    encoder = PRESETS[name]()
    d, n, k = encoder.dim, 128, 9
    mixed, mlp = encoder.layers[0].mix
    heads = 2 * mixed.heads
    layer = 7 * d * d // 2 + 8 * d * d // mlp.groups + n * d + (d // 2) * (heads // 2) * k + 3 * k * d // 2
    table = encoder.embedding.width or 0
    found = sum(part.macs for part in cost(ModelConfig(encoder=encoder), length=n))
    assert found == n * (12 * layer + table * d)
    assert found / n / 1e6 == pytest.approx(mmacs, rel=1e-3)
    if electra is None:
        same = from_pattern("12{sf}", dim=d, head_dim=48)
        same = dataclasses.replace(same, embedding=encoder.embedding)
    else:
        same = PRESETS[electra]()
    theirs = sum(part.macs for part in cost(ModelConfig(encoder=same), length=n))
    assert found / theirs == pytest.approx(ratio, abs=0.005)


PRICED = pytest.mark.parametrize("price", [1.0, math.inf], ids=["absorbed", "projected"])


@PRICED
def test_few_kept_rows_of_mixed_attention_cost_what_stands_around_them(price: float, monkeypatch: pytest.MonkeyPatch):
    """K rows of 2 heads each, in a width of 64: the depthwise convolution of S tokens, and their keys and values unless
    they are absorbed; all else for K. No value of a convolution is made but from the sums that each kernel takes."""
    monkeypatch.setattr(absorbed, "PRICE", price)
    parts = {p.name: p.macs for p in cost(ModelConfig(encoder=MIXED), batch=B, length=S, keep=K, training=True)}
    d, a, k, heads = 64, 32, 9, 2
    kept = d * a + d * a + a * heads * k + (heads * k * d + d * a) + 2 * a * d
    keys_and_values = 2 * K * d * (a + S * heads) if price == 1 else S * 2 * d * a + K * 2 * S * a
    assert parts["layers.2.0"] == B * (K * kept + S * k * d + keys_and_values)


@PRICED
def test_narrowing_saves_what_the_formula_says(price: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(absorbed, "PRICE", price)
    wide, narrow = (
        cost(ModelConfig(encoder=NARROW), batch=B, length=S, keep=keep, training=True) for keep in (None, K)
    )
    by_name = {p.name: p.macs for p in narrow}
    width, heads = 64, 4
    keys_and_values = 2 * S * width**2 + 2 * K * S * width  # and the two products of the attention
    if price == 1:
        keys_and_values = 2 * K * width**2 + 2 * K * S * heads * width
    assert by_name["layers.2.1"] == B * K * 8 * width**2
    assert by_name["layers.2.0"] == B * (2 * K * width**2 + keys_and_values)
    assert {p.name: p.macs for p in wide}["layers.2.1"] == B * S * 8 * width**2
    assert by_name["layers.1"] == 0


def test_activations_of_an_mlp_are_its_inputs():
    """The rows (once for two uses), the hidden rows before and after the activation, the norm's mean and scale."""
    config = ModelConfig(encoder=encoder_of(MlpConfig(hidden=48)))
    parts = {p.name: p for p in cost(config, batch=B, length=S, training=True)}
    rows = B * S * DIM * 4
    assert parts["layers.0.0"].activation_bytes == rows + rows + 2 * (B * S * 48 * 4) + 2 * (B * S * 4)


MIXED_DENSE = from_pattern("2{mf}", dim=64, head_dim=16, vocab=VOCAB)


@pytest.mark.parametrize(("encoder", "keep"), [(toy_encoder(), K), (MIXED_DENSE, None)], ids=["toy", "mixed"])
def test_activations_are_those_of_a_real_run(encoder: Any, keep: int | None):
    config = ModelConfig(encoder=encoder, head=MaskedLmConfig())
    model = model_of(config.encoder, config.head).train()
    use_core(model, "explicit")
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    ids = torch.zeros(B, S, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        model(ids, select=None if keep is None else ids[:, :keep])
    real = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in weights)
    counted = sum(p.activation_bytes for p in cost(config, batch=B, length=S, keep=keep, training=True))
    assert counted == real
