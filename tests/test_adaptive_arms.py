"""The arms of the benchmark of adaptive depth: their order, what they share, and what the combination costs."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from benchmark_rows import encoder
from slimbert.data.tokenizer import TextTokenizer
from slimbert.model import ModelConfig, fresh, presets, save_model
from test_benchmarks import BENCHMARKS


@pytest.fixture
def arms(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("depth_arms")


def test_every_arm_with_units_teaches_them_at_one_rate(arms: ModuleType):
    settings = arms.halting("patience"), arms.dact(0.1), arms.ARMS["entropy"].settings
    assert all("halting.unit_lr=5" in some for some in settings)


def test_what_another_arm_needs_comes_before_it(arms: ModuleType):
    names = list(arms.ARMS)
    assert names[:3] == ["dense", "entropy", "DACT"]  # entropy right behind the run that it begins from
    assert all(names.index(arm.after) < names.index(name) for name, arm in arms.ARMS.items() if arm.after)


def test_tau_can_be_chosen_by_validation(arms: ModuleType):
    """Every arm with a tau is scored on validation; there are three of them."""
    taus = [name for name, arm in arms.ARMS.items() if "halting.method=dact" in arm.settings and "cls" not in name]
    assert len(taus) == 3
    assert all(arms.ARMS[name].validated for name in taus)


def test_both_sides_read_the_mean_or_the_first_token(arms: ModuleType):
    """Dense, truncated and adaptive encoders stand in the record with either pooling."""
    plain = {"dense", "DACT", *(f"truncated {count}" for count in (2, 3, 4))}
    assert {name.removesuffix(", cls") for name in arms.ARMS if name.endswith(", cls")} == plain
    for name in plain:
        one, first = arms.ARMS[name], arms.ARMS[f"{name}, cls"]
        assert first == one._replace(settings=(*one.settings, "pool=cls"), once=True)


def test_the_combination_can_reach_its_goal(arms: ModuleType, tmp_path: Path):
    """At MiniLM's shape, in full depth and without an exit, with whatever ticket is drawn at random: 3.5 times."""
    config = presets.from_pattern("6{sf}", dim=384, head_dim=32, vocab=200)
    folder = tmp_path / "minilm"
    save_model(fresh(ModelConfig(encoder=config), 0), folder)
    TextTokenizer.load(encoder(tmp_path / "toy")).save(folder)
    found = arms.counted(folder, arms.NARROW_AT, arms.TICKET)
    assert found["dense"][-1] == pytest.approx(542e6, rel=0.01)  # by hand: 6 layers of 50 tokens
    assert found["dense"][-1] / found["narrow"][-1] == pytest.approx(1.95, abs=0.05)
    assert found["dense"][-1] / found["narrow + ticket"][-1] >= 3.5
    assert all(before < behind for before, behind in zip(found["dense"], found["dense"][1:], strict=False))
