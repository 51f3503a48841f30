"""The benchmark run for real, at toy size and without compilation; its shape and its count of operations."""

import pytest

from slimbert.bench.pretrain import LENGTH, PREDICTED, _Arms, flops_per_token, pretrain_benchmark
from slimbert.hf.peers import Shape
from slimbert.model.presets import bert_deep_small
from slimbert.train.recipe import load_recipe, read_recipe

TOY = Shape(layers=1, dim=16, heads=2, vocab=120)


def test_every_arm_runs_and_the_ratios_are_those_of_the_medians() -> None:
    told: list[str] = []
    found = pretrain_benchmark(seconds=0, batch_size=2, shape=TOY, compiled=False, tell=told.append)
    assert found["pairs"] == 15
    assert found["ratio"] == pytest.approx(found["slimbert"] / found["stock"], rel=0.01)  # the speeds are rounded
    assert found["ratio_tuned"] == pytest.approx(found["slimbert"] / found["stock_tuned"], rel=0.01)
    low, high = found["composed_over_handwritten_interval"]
    assert low <= found["composed_over_handwritten"] <= high
    assert 0 < found["model_flops_utilisation"] < 1
    assert len(found["seconds_per_update"]["stock"]) == found["rounds"] == 5
    assert told


def test_it_measures_bert_deep_small_by_its_recipe() -> None:
    measured = _Arms(Shape(), "float32", True).recipe
    assert measured.model.encoder == bert_deep_small()
    shipped = load_recipe(read_recipe("bert_deep_small_mlm"))
    assert (measured.model, measured.optim, measured.masking) == (shipped.model, shipped.optim, shipped.masking)
    same = ("batch_size", "precision", "compile", "accumulate", "core")
    assert [getattr(measured.train, name) for name in same] == [getattr(shipped.train, name) for name in same]


def test_needed_operations_in_closed_form() -> None:
    """Per token: 11 whole layers, the last one's keys and values, the rest of it and the head at predicted rows."""
    d, s, k, v = 256, LENGTH, PREDICTED, 30522
    whole = 11 * (12 * d * d + 2 * s * d)
    last = 2 * d * d + k / s * (10 * d * d + 2 * s * d)
    head = k / s * (d * d + d * v)
    wanted = 6 * (whole + last + head)
    assert flops_per_token(_Arms(Shape(), "float32", True).recipe) == pytest.approx(wanted, rel=1e-6)
