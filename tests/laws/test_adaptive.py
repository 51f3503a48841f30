"""Adaptive depth: the safe run answers as the full one, whatever the encoder; finished texts are no longer computed."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from slimbert.errors import InputError
from slimbert.model import ModelConfig, load_model, presets, save_model
from slimbert.model.adaptive import Adapted, Confident, Entropy, Patience, Policy, Safe, adaptive
from slimbert.model.cost import cost, cost_per_point
from slimbert.model.exits import DactConfig, ExitsConfig
from slimbert.model.halting import Range, bounds
from slimbert.model.heads import SequenceConfig
from slimbert.model.model import Model, fresh
from slimbert.model.presets import from_pattern
from slimbert.parts.attention import AttentionConfig
from slimbert.parts.core import use_core
from slimbert.parts.mlp import MlpConfig
from slimbert.parts.norm import LayerNormConfig
from slimbert.parts.position import RotaryConfig
from slimbert.parts.residual import LayerConfig
from toys import VOCAB, encoder_of, model_of, toy_encoder

LABELS = ("a", "b", "c")
ROWS, LENGTH = 24, 12


def pattern(text: str) -> Any:
    return from_pattern(text, dim=32, head_dim=8, hidden=48, vocab=VOCAB, max_len=16)


def turning() -> Any:
    """BERT with pre-norm and rotary positions."""
    mix = (AttentionConfig(heads=4, head_dim=8, position=RotaryConfig()), MlpConfig(hidden=48))
    return encoder_of(*[LayerConfig(mix=mix, wiring="pre")] * 4, final_norm=LayerNormConfig())


ENCODERS = {
    "post-norm": pattern("4{sf}"),
    "pre-norm rotary": turning(),
    "narrow": pattern("1{sf}:3{sf}"),
    "context first": pattern("2{sf},2{s}:2{f}"),
    "convbert": pattern("3{mf}"),
    "narrow convbert": pattern("1{mf}:2{mf}"),
    "groupbert": pattern("2{cgsg}"),
    "narrow groupbert": pattern("1{cgsg}:2{cgsg}"),
    "mixed, convolving, grouped, narrowed": toy_encoder(),
}
UNCOUNTED = {"convbert": 0.02, "narrow convbert": 0.02, "mixed, convolving, grouped, narrowed": 0.01}  # of products
EVERY = pytest.mark.parametrize("name", ENCODERS)


def made(
    name: str, *, answer: Any = "class", labels: tuple[str, ...] = LABELS, sure: float = 6.0, seed: int = 0, **rest: Any
) -> Model:
    """A lively model whose units are so sure, and halt so differently, that texts stop at all depths."""
    encoder = ENCODERS[name]
    labels = labels if answer != "number" else ("score",)
    head = DactConfig(labels=labels, units=encoder.points(), answer=answer, dropout=0.0, **rest)
    model = model_of(encoder, head, seed)
    with torch.no_grad():
        for unit in model.head.units:  # type: ignore[union-attr]
            unit.classes.weight.mul_(sure)
            unit.halt.weight.mul_(3.0)
            unit.halt_bias.fill_(-3.0)
    return model


class Texts:
    """Ragged rows: ids [24, 12], mask, and the words whose tags are asked for."""

    def __init__(self, seed: int = 1) -> None:
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(3, LENGTH + 1, (ROWS,), generator=generator)
        self.ids = torch.randint(0, VOCAB, (ROWS, LENGTH), generator=generator)
        self.mask = torch.arange(LENGTH) < lengths[:, None]
        self.first = torch.zeros(ROWS, 1, dtype=torch.long)
        self.words = torch.tensor([[1, 2, 0]]).expand(ROWS, -1)
        self.real = torch.tensor([[True, True, False]]).expand(ROWS, -1)


def run(model: Model, texts: Texts, policy: Policy = Safe(), select: Tensor | None = None, **rest: Any) -> Adapted:
    chosen = texts.first if select is None else select
    return adaptive(model, texts.ids, mask=texts.mask, select=chosen, policy=policy, **rest)


def in_full(model: Model, texts: Texts, select: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model(texts.ids, mask=texts.mask, select=texts.first if select is None else select)


@EVERY
@pytest.mark.parametrize("policy", [Safe(), Safe(rule="published")], ids=["tight", "published"])
@pytest.mark.parametrize("seed", range(3))
def test_the_class_is_that_of_the_full_depth(name: str, policy: Safe, seed: int):
    model, texts = made(name, seed=seed), Texts(seed)
    adapted = run(model, texts, policy)
    assert (adapted.answers.argmax(-1) == in_full(model, texts).argmax(-1)).all()
    assert policy.guaranteed
    assert adapted.depth.min() < model.config.encoder.points(), "nothing stopped early: the test shows nothing"


@EVERY
def test_every_label_is_that_of_the_full_depth(name: str):
    model, texts = made(name, answer="labels"), Texts()
    thresholds = torch.tensor([0.3, 0.5, 0.8])
    adapted = run(model, texts, Safe(thresholds=thresholds))
    assert ((adapted.answers.sigmoid() > thresholds) == (in_full(model, texts).sigmoid() > thresholds)).all()
    assert adapted.depth.min() < model.config.encoder.points()


@EVERY
def test_a_class_with_a_threshold_is_that_of_the_full_depth(name: str):
    model, texts = made(name, labels=("no", "yes")), Texts()
    adapted = run(model, texts, Safe(thresholds=torch.tensor([0.7, 0.3])))
    given, full = (one.softmax(-1)[:, 1] for one in (adapted.answers, in_full(model, texts)))
    assert ((given >= 0.3) == (full >= 0.3)).all()
    assert adapted.depth.min() < model.config.encoder.points()


@EVERY
def test_a_number_is_within_the_tolerance(name: str):
    model, texts = made(name, answer="number", low=0.0, high=5.0), Texts()
    adapted = run(model, texts, Safe(tolerance=0.25))
    assert (adapted.answers - in_full(model, texts)).abs().max() <= 0.25 + 1e-5
    assert adapted.depth.min() < model.config.encoder.points()


@EVERY
def test_every_tag_is_that_of_the_full_depth(name: str):
    model, texts = made(name, answer="tags"), Texts()
    select = torch.cat((texts.first, texts.words), dim=1)
    adapted = run(model, texts, Safe(), select, real=texts.real)
    full = in_full(model, texts, select)
    assert adapted.answers.shape == full.shape == (ROWS, 3, 3)
    assert (adapted.answers.argmax(-1) == full.argmax(-1))[texts.real].all()
    assert adapted.depth.min() < model.config.encoder.points()


def test_tags_that_may_not_stand_so_go_on():
    """A sequence that would be repaired is decided by all its scores, which only the full depth has."""
    model, texts = made("post-norm", answer="tags"), Texts()
    select = torch.cat((texts.first, texts.words), dim=1)
    never = torch.zeros(3, 3, dtype=torch.bool)
    adapted = run(model, texts, Safe(legal=never), select, real=texts.real)
    assert (adapted.depth == 4).all()
    nowhere = torch.zeros(3, dtype=torch.bool)
    for policy in (Safe(starts=nowhere), Safe(ends=nowhere)):
        assert (run(model, texts, policy, select, real=texts.real).depth == 4).all()


@EVERY
def test_a_text_is_answered_the_same_alone_permuted_and_padded(name: str):
    model, texts = made(name), Texts()
    together = run(model, texts)
    for row in range(0, ROWS, 5):
        length = int(texts.mask[row].sum())
        alone = adaptive(model, texts.ids[row : row + 1, :length], select=texts.first[:1], policy=Safe())
        assert alone.depth.item() == together.depth[row]
        assert_close(alone.answers[0].exp(), together.answers[row].exp(), rtol=1e-4, atol=1e-5)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    ids, mask = (torch.nn.functional.pad(t, (0, 3)) for t in (texts.ids[order], texts.mask[order]))
    moved = adaptive(model, ids, mask=mask, select=texts.first, policy=Safe())
    assert_close(moved.depth, together.depth[order])
    assert_close(moved.answers.exp(), together.answers[order].exp(), rtol=1e-4, atol=1e-5)


@EVERY
def test_finished_texts_are_not_computed(name: str):
    """Exactly the sum of the depths is executed, counted at the mixers themselves."""
    model, texts = made(name), Texts()
    seen: list[int] = []
    for block in model.encoder.layers:
        for residual in block if hasattr(block, "__iter__") else ():
            residual.mixer.register_forward_hook(lambda module, given, y: seen.append(len(given[0])))
    adapted = run(model, texts)
    assert sum(texts for _, texts, _ in adapted.work) == adapted.depth.sum()
    per_block = [len(layer.mix) for layer in model.config.encoder.layers if hasattr(layer, "mix")]
    split = any(getattr(layer, "memory", True) is False for layer in model.config.encoder.layers)
    if not split:
        rows = [count for (unit, count, _) in adapted.work for _ in range(per_block[unit])]
        assert seen == rows
    tokens = [length for _, _, length in adapted.work]
    assert tokens[0] == LENGTH


@EVERY
@pytest.mark.parametrize("joins", [False, True], ids=["each its own", "one product"])
def test_executed_multiply_adds_are_those_that_are_promised(name: str, joins: bool):
    """As torch counts them, with rows enough that none absorbs the memory. Where a full run may join the keys and
    values of all layers, an adaptive one makes none ahead: texts that stop would pay for layers they never reach. What
    a convolution adds in place torch does not count."""
    model, texts = made(name, answer="tags"), Texts()
    texts.mask[:] = True
    use_core(model, "explicit")
    model.encoder.joins = joins
    words = torch.arange(1, 8).expand(ROWS, -1)
    select = torch.cat((texts.first, words), dim=1)
    with FlopCounterMode(display=False) as counter:
        adapted = run(model, texts, Safe(), select)
    each = cost_per_point(model.config, length=LENGTH, keep=select.shape[1])
    assert adapted.depth.min() < len(each)
    promised = 2 * sum(count * each[unit] for unit, count, _ in adapted.work)
    assert counter.get_total_flops() == pytest.approx(promised, rel=UNCOUNTED.get(name, 0.0))
    assert (adapted.answers.argmax(-1) == in_full(model, texts, select).argmax(-1)).all()


def test_what_is_left_is_cut_to_its_longest_text():
    model, texts = made("post-norm"), Texts()
    texts.mask[:] = torch.arange(LENGTH) < 4
    texts.mask[0] = True
    policy = _StopLong()
    adapted = run(model, texts, policy)
    assert [length for _, _, length in adapted.work] == [LENGTH, 4, 4, 4]


class _StopLong:
    """Stops the first text at once, all others never."""

    guaranteed = False

    def stop(self, seen: Any, head: Any) -> tuple[Tensor, Tensor | None]:
        first = torch.zeros(len(seen.p), dtype=torch.bool)
        first[0] = len(seen.p) == ROWS
        return first, None


def test_depth_is_bounded_on_request():
    model, texts = made("post-norm"), Texts()
    assert (run(model, texts, max_depth=2).depth <= 2).all()
    never = run(model, texts, Confident(threshold=2.0), max_depth=3)
    assert (never.depth == 3).all()
    assert not Safe(kappa=0.5).guaranteed
    assert (run(model, texts, Safe(kappa=0.2)).depth <= run(model, texts).depth).all()


def test_bounds_of_an_adaptive_answer_hold_the_full_one():
    model, texts = made("post-norm"), Texts()
    full = in_full(model, texts).exp()
    cut = run(model, texts, Confident(threshold=2.0), max_depth=2)
    answers = model.head.unit_answers(model.encoder(texts.ids, mask=texts.mask, select=texts.first, trace="rows").trace)  # type: ignore[union-attr, operator]
    p = answers.log_h[:, :2].sum(dim=1).exp()
    low, high = bounds(cut.answers.exp(), p, 2, Range())
    assert ((low - 1e-6 <= full) & (full <= high + 1e-6)).all()


@pytest.mark.parametrize("policy", [Entropy(threshold=0.3), Confident(threshold=0.9), Patience(count=1)])
@pytest.mark.parametrize("answer", ["class", "labels"])
def test_other_policies_stop_by_the_answers_alone(policy: Policy, answer: Any):
    encoder = ENCODERS["post-norm"]
    head = ExitsConfig(labels=LABELS, units=encoder.points(), answer=answer, dropout=0.0)
    model, texts = model_of(encoder, head), Texts()
    with torch.no_grad():
        for unit in model.head.units:  # type: ignore[union-attr]
            unit.classes.weight.mul_(6.0)
    adapted = run(model, texts, policy)
    assert not policy.guaranteed
    assert 1 <= adapted.depth.min() < 4
    with torch.no_grad():
        answers = model.head.unit_answers(  # type: ignore[union-attr, operator]
            model.encoder(texts.ids, mask=texts.mask, select=texts.first, trace="rows").trace
        )
    each = torch.stack(answers.logits)
    picked = each[adapted.depth - 1, torch.arange(ROWS)]
    y = picked.softmax(-1) if answer == "class" else picked.sigmoid()
    assert_close(adapted.answers.softmax(-1) if answer == "class" else adapted.answers.sigmoid(), y, **CLOSE)


CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def test_patience_counts_units_that_agree():
    """PABEE: with a patience of t, t + 1 units at least."""
    encoder = ENCODERS["post-norm"]
    head = ExitsConfig(labels=LABELS, units=4, dropout=0.0)
    model, texts = model_of(encoder, head), Texts()
    with torch.no_grad():
        trace = model.encoder(texts.ids, mask=texts.mask, select=texts.first, trace="rows").trace
        best = torch.stack(model.head.unit_answers(trace).logits).argmax(-1)  # type: ignore[union-attr, operator]
    for patience in (1, 2, 3):
        adapted = run(model, texts, Patience(count=patience))
        for row in range(ROWS):
            streak, depth = 0, 4
            for n in range(1, 4):
                streak = streak + 1 if best[n, row] == best[n - 1, row] else 0
                if streak >= patience:
                    depth = n + 1
                    break
            assert adapted.depth[row] == depth


def test_saved_and_loaded_answers_are_the_same_bits(tmp_path: Any):
    model, texts = made("narrow"), Texts()
    save_model(model, tmp_path)
    again = load_model(tmp_path).eval()
    assert again.config == model.config
    assert_close(in_full(again, texts), in_full(model, texts), rtol=0, atol=0)
    assert_close(run(again, texts), run(model, texts), rtol=0, atol=0)


def test_dropout_would_break_the_guarantee():
    model, texts = made("post-norm"), Texts()
    with pytest.raises(InputError, match=r"training mode.*model.eval\(\)"):
        run(model.train(), texts)


def test_adaptive_runs_need_a_trace():
    plain = model_of(ENCODERS["post-norm"], SequenceConfig(labels=LABELS))
    with pytest.raises(InputError, match=r"model\.head: a head of kind sequence has no trace; give it"):
        run(plain, Texts())


def test_units_must_match_the_trace_points():
    encoder = ENCODERS["post-norm"]
    with pytest.raises(InputError, match="3 units, the encoder has 4 trace points"):
        ModelConfig(encoder=encoder, head=DactConfig(labels=LABELS, units=3)).build()
    with pytest.raises(InputError, match="labels"):
        ModelConfig(encoder=encoder, head=DactConfig(labels=("one",), units=4)).build()
    with pytest.raises(InputError, match="high"):
        ModelConfig(
            encoder=encoder, head=DactConfig(labels=("n",), units=4, answer="number", low=1.0, high=1.0)
        ).build()


def test_the_halting_bias_starts_near_full_depth():
    config = ModelConfig(encoder=presets.bert_tiny(), head=DactConfig(labels=LABELS, units=2))
    model = fresh(config, 0)
    assert all(float(unit.halt_bias.detach()) == 3.0 for unit in model.head.units)  # type: ignore[union-attr]
    shared = dataclasses.replace(config, head=dataclasses.replace(config.head, shared=True))
    assert len(fresh(shared, 0).head.units) == 1  # type: ignore[union-attr, arg-type]


@EVERY
def test_costs_of_the_points_sum_to_the_cost_of_the_whole(name: str):
    config = made(name).config
    whole = sum(part.macs for part in cost(config, length=LENGTH, keep=1))
    assert sum(cost_per_point(config, length=LENGTH, keep=1)) == pytest.approx(whole, abs=config.encoder.points())


@EVERY
@pytest.mark.parametrize("policy", [Safe(), Safe(rule="published")], ids=["tight", "published"])
def test_nothing_runs_behind_a_unit_that_leaves_nothing_open(name: str, policy: Safe):
    """Where the first unit halts for certain, its answer is that of the full depth, and nothing else is computed."""
    model, texts = made(name), Texts()
    unit = model.head.units[0]  # type: ignore[union-attr]
    torch.nn.init.zeros_(unit.halt.weight)
    torch.nn.init.constant_(unit.halt_bias, -60.0)
    adapted = run(model, texts, policy)
    assert (adapted.depth == 1).all() and len(adapted.work) == 1
    assert_close(adapted.answers.exp(), in_full(model, texts).exp(), **CLOSE)
