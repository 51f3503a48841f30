"""The benchmark of replaced tokens run for real, at toy size and without compilation: what every arm trains."""

from itertools import islice

import pytest

from slimbert.bench.pretrain import LENGTH, timed
from slimbert.bench.replaced import ARMS, TABLE, _Arms, rounds, summary
from slimbert.hf.peers import Shape
from slimbert.model.presets import bert_deep_small
from slimbert.parts.narrow import NarrowConfig
from slimbert.train.replaced import ReplacedTokens

TOY = Shape(layers=1, dim=16, heads=2, vocab=120, max_len=LENGTH)


def test_every_arm_runs_and_the_ratios_are_those_of_the_medians() -> None:
    told: list[str] = []
    seen = list(islice(rounds(batch_size=2, narrow=0, shape=TOY, tell=told.append), 3))
    assert [set(one) for one in seen] == [set(ARMS)] * 3
    assert [next(iter(one)) for one in seen] == list(ARMS[:3])  # another arm begins each round
    assert len(told) == len(ARMS)
    found = summary(seen, batch_size=2)
    middle = {name: sorted(one[name] for one in seen)[1] for name in ARMS}
    assert found["tokens_per_second"] == {name: round(2 * LENGTH / middle[name], 1) for name in ARMS}
    assert found["narrow_over_wide"] == pytest.approx(middle["wide_generator"] / middle["narrow_generator"])
    assert found["over_masked_lm"]["wide_generator"] == pytest.approx(middle["masked_lm"] / middle["wide_generator"])
    assert len(found["over_transformers"]) == 4
    assert found["rounds"] == 3


def test_it_measures_the_small_shape() -> None:
    """That of bert_deep_small with ELECTRA-small's table; both generators follow the published rule."""
    arms = _Arms(Shape(), narrow=2, compiled=False, device="cpu")
    assert arms.encoder.layers == bert_deep_small().layers
    assert arms.encoder.embedding.width == TABLE
    wide, narrow = (arms.objective(name) for name in ("wide_generator", "narrow_generator"))
    assert isinstance(wide, ReplacedTokens) and isinstance(narrow, ReplacedTokens)
    (attention, mlp), *_ = (layer.mix for layer in wide.generator.config.encoder.layers)
    assert (wide.generator.config.encoder.dim, attention.heads, mlp.hidden) == (64, 1, 256)
    assert narrow.generator.config.encoder.layers[2] == NarrowConfig()
    sizes = [sum(p.numel() for p in one.parameters()) for one in (wide, narrow)]
    assert sizes[0] == sizes[1]


def test_a_time_ends_when_the_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr("torch.cuda.synchronize", waited.append)
    assert timed(lambda: waited.append("update")) > 0
    assert timed(lambda: waited.append("update"), device="cuda") > 0
    assert waited == ["update", "update", "cuda"]
