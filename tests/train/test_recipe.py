"""Recipes: one budget, settings that replace it, and what every wrong one is told."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from slimbert.config import dump, load
from slimbert.data.masking import Shown
from slimbert.errors import InputError
from slimbert.train.recipe import Recipe, load_recipe, read_recipe, recipes, seconds, with_settings

MODEL: dict[str, Any] = {"encoder": {"pattern": "1{sf}", "dim": 16}, "head": {"kind": "masked_lm"}}


def plain(**train: Any) -> dict[str, Any]:
    return {"model": MODEL, "train": train}


def budget(recipe: Recipe) -> dict[str, object]:
    return {name: getattr(recipe.train, name) for name in ("steps", "tokens", "time")}


def test_optimiser_settings_are_reached_by_their_path():
    recipe = load_recipe(with_settings(plain(steps=5), ("optim.layer_decay=0.8",)))
    assert recipe.optim.layer_decay == 0.8
    with pytest.raises(InputError, match=r"recipe\.optim\.layer_decay: 0\.0 is no factor"):
        load_recipe(with_settings(plain(steps=5), ("optim.layer_decay=0",)))


def test_load_of_dump_is_the_recipe():
    recipe = load_recipe(plain(steps=5))
    assert load(Recipe, dump(recipe)) == recipe


@pytest.mark.parametrize(
    ("settings", "option", "expected"),
    [
        ((), None, {"steps": 5}),
        (("train.tokens=1_000_000",), None, {"tokens": 1_000_000}),
        (("train.time=90s",), None, {"time": "90s"}),
        (("train.steps=7",), None, {"steps": 7}),
        (("train.tokens=9", "train.steps=7"), None, {"steps": 7}),
        (("train.tokens=9",), "10m", {"time": "10m"}),
        ((), "2000steps", {"steps": 2000}),
        ((), "1.5ksteps", {"steps": 1500}),
        ((), "1 step", {"steps": 1}),
        ((), "50Mtokens", {"tokens": 50_000_000}),
        ((), "2B tokens", {"tokens": 2_000_000_000}),
        ((), "1.5h", {"time": "1.5h"}),
    ],
)
def test_setting_one_budget_replaces_the_others(settings: tuple[str, ...], option: str | None, expected: dict):
    recipe = load_recipe(with_settings(plain(steps=5, batch_size=2), settings, budget=option))
    assert budget(recipe) == {"steps": None, "tokens": None, "time": None} | expected
    assert recipe.train.batch_size == 2


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("1d", 86400)])
def test_times(text: str, expected: float):
    assert seconds(text, "here") == expected


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "0s", "10 minutes", "ten"])
def test_what_is_no_time(text: str):
    with pytest.raises(InputError, match=r"^--budget: .* is not a time"):
        with_settings(plain(), (), budget=text)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({}, r"recipe\.train: 0 budgets"),
        ({"steps": 5, "tokens": 5}, r"recipe\.train: 2 budgets \(steps, tokens\)"),
        ({"steps": 0}, r"recipe\.train\.steps: 0 is below 1"),
        ({"tokens": -1}, r"recipe\.train\.tokens: -1 is below 1"),
        ({"time": "soon"}, r"recipe\.train\.time: 'soon' is not a time"),
        ({"steps": 5, "batch_size": 0}, r"recipe\.train\.batch_size"),
        ({"steps": 5, "batch_size": 6, "accumulate": 4}, r"recipe\.train\.accumulate: 4 micro-batches do not divide 6"),
        ({"steps": 5, "keep": 0}, r"recipe\.train\.keep"),
        ({"steps": 5, "seed": -1}, r"recipe\.train\.seed: -1 is negative"),
        ({"step": 5}, r"recipe\.train\.step: no such field, did you mean 'steps'"),
        ({"steps": "many"}, r"recipe\.train\.steps: 'many' is not of type int"),
    ],
)
def test_wrong_recipes_are_told_where(train: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        load_recipe(plain(**train))


@pytest.mark.parametrize("section", ["model", "train", "optim", "data"])
@pytest.mark.parametrize("value", [5, "text", [1]])
def test_a_section_that_is_no_mapping(section: str, value: object):
    with pytest.raises(InputError, match=rf"recipe\.{section}"):
        load_recipe(with_settings({**plain(steps=5), section: value}, ("train.steps=3",) if section != "train" else ()))


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_masking_rate_is_a_share(rate: float):
    with pytest.raises(InputError, match=r"recipe\.masking\.rate"):
        load_recipe({**plain(steps=5), "masking": {"rate": rate}})


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"kind": "replaced"}, r"objective\.kind: no objective is called 'replaced'; did you mean 'replaced_tokens'"),
        ({"masked": 0.5}, r"objective: no kind in .*masked_lm, replaced_tokens"),
        (5, r"objective: no kind in 5"),
        ({"kind": "masked_lm", "masked": 0.5}, r"objective\.masked: no such field"),
        ({"kind": "replaced_tokens", "generator": {"width": 0}}, r"objective\.generator\.width: 0\.0 is no width"),
        ({"kind": "replaced_tokens", "generator": {"width": 1.5}}, r"objective\.generator\.width: 1\.5 is not in 0 to"),
        ({"kind": "replaced_tokens", "generator": {"layers": 0}}, r"objective\.generator\.layers: 0 is not in"),
        ({"kind": "replaced_tokens", "generator": {"narrow": -1}}, r"objective\.generator\.narrow: -1 is not in"),
        ({"kind": "replaced_tokens", "generator": {"from": "x"}}, r"objective\.generator\.from: no such field"),
        ({"kind": "replaced_tokens", "generator": 0.25}, r"objective\.generator: 0\.25 is not a mapping"),
        ({"kind": "replaced_tokens", "share": "all"}, r"objective\.share: 'all' is not one of embeddings, none"),
        ({"kind": "replaced_tokens", "masked": 2}, r"objective\.masked: 2\.0 is not in 0 to 1"),
        ({"kind": "replaced_tokens", "rtd_weight": 0}, r"objective\.rtd_weight: 0\.0: the model would learn nothing"),
        ({"kind": "replaced_tokens", "mlm_weight": -1}, r"objective\.mlm_weight: -1\.0 is not in 0 to"),
    ],
)
def test_wrong_objectives_are_told_where(objective: object, message: str):
    with pytest.raises(InputError, match=rf"recipe\.{message}") as told:
        load_recipe({**plain(steps=5), "objective": objective})
    assert "\n" not in str(told.value)


def test_an_objective_is_written_whole_and_read_again():
    recipe = load_recipe({**plain(steps=5), "objective": {"kind": "replaced_tokens", "generator": {"narrow": 2}}})
    assert load(Recipe, dump(recipe)) == recipe
    assert recipe.objective.shown == Shown(mask=0.85, random=0.0)
    assert dump(load_recipe(plain(steps=5)))["objective"] == {"kind": "masked_lm"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model:\n  a: [1\n", r"r\.yaml:\d+: not YAML"),
        (b"\xff\xfe\xfa", r"r\.yaml: not YAML"),
        (b"- 1\n", r"r\.yaml: not a mapping"),
        (b"a: 2024-13-01\n", r"r\.yaml: not YAML"),
        (b"[" * 5000, r"r\.yaml"),
        (b"", r"r\.yaml: not a mapping"),
    ],
)
def test_broken_files_are_told_with_their_line(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_recipe(tmp_path / "r.yaml")


@given_settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10_000), noise=st.binary(min_size=1, max_size=12))
def test_corrupted_files_are_recipes_or_one_line(place: int, noise: bytes):
    """Bytes of a real recipe overwritten: it is read, or refused in one line."""
    content = bytearray(recipes()[0].read_bytes())
    place %= len(content)
    content[place : place + len(noise)] = noise
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "r.yaml"
        file.write_bytes(bytes(content))
        try:
            load_recipe(read_recipe(file))
        except InputError as error:
            assert "\n" not in str(error)


def test_missing_file(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")
