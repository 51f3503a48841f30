"""Every recipe in recipes/ is whole, and runs at toy size; the loss curve of one of each objective is golden."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.small import corpus, losses
from slimbert.jobs.pretrain import pretrain
from slimbert.jobs.tickets.recipe import ticket_recipe
from slimbert.model import load_model
from slimbert.model.presets import PRESETS
from slimbert.train.recipe import load_recipe, read_recipe
from slimbert.train.run import RunFolder

FILES = sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.yaml"))
TICKETS = [file for file in FILES if "ticket" in read_recipe(file)]
RECIPES = [file for file in FILES if file not in TICKETS]
GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
# one layer of width 16 instead of the preset's, as a person would say it on the command line
TOY = (
    'model.encoder={pattern: "1{sf}", dim: 16, head_dim: 8, hidden: 32, max_len: 16}',
    "train.batch_size=8",
    "train.evaluate_rows=8",
    "train.precision=float32",
    "train.compile=false",
)


# what another recipe is for stays in its toy: the layers of GroupBERT, a narrowing of the model or of its generator
KINDS = {"groupbert": "1{cgsg}", "narrowbert": "1{sf}:1{sf}", "electra_small_narrow": "2{sf}"}


def toy(file: Path) -> tuple[str, ...]:
    """The settings TOY, with layers of the kind that the recipe is for."""
    pattern = next((pattern for name, pattern in KINDS.items() if file.stem.startswith(name)), "1{sf}")
    generator = read_recipe(file).get("objective", {}).get("generator", {})
    narrow = ("objective.generator.narrow=1",) if "narrow" in generator else ()
    return (TOY[0].replace("1{sf}", pattern), *TOY[1:], *narrow)


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(tmp_path_factory.mktemp("recipes"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_loads_and_trains(file: Path, data: Path, tmp_path: Path):
    load_recipe(read_recipe(file)).model.encoder.check()
    made = pretrain(file, data=data, out=tmp_path, settings=toy(file), budget="3steps", device="cpu", quiet=True)
    assert made.steps == 3
    assert made.val_loss is not None
    whole = load_recipe(read_recipe(file)).model.encoder
    trained = load_model(tmp_path).config.encoder
    assert _kinds(trained.layers) == _kinds(whole.layers)


def _kinds(steps: tuple[Any, ...]) -> set[str]:
    """Of all steps and mixers."""
    return {part.kind for step in steps for part in (step, *getattr(step, "mix", ()))}


@pytest.mark.parametrize("file", TICKETS, ids=lambda file: file.stem)
def test_every_ticket_recipe_loads(file: Path, tmp_path: Path):
    """By its path and by its name; the first lines say how to use it."""
    assert ticket_recipe(file, (), tmp_path)[0] == ticket_recipe(file.stem, (), tmp_path)[0] is not None
    assert f"--ticket recipes/{file.name}" in file.read_text()


def test_every_size_of_bert_has_a_recipe():
    assert {file.stem for file in RECIPES} >= {f"{name}_mlm" for name in PRESETS if name.startswith("bert_")}


@pytest.mark.parametrize("file", [f for f in RECIPES if f.stem.startswith("bert_")], ids=lambda file: file.stem)
def test_recipes_are_what_their_names_say(file: Path):
    """The first line says how to use it; the encoder is the preset of the same name."""
    name = file.stem.removesuffix("_mlm")
    assert read_recipe(file)["model"]["encoder"] == {"preset": name}
    assert f"slimbert pretrain recipes/{file.name}" in file.read_text()


@pytest.mark.parametrize("curve", GOLDEN, ids=lambda file: file.stem)
def test_the_golden_curves(curve: Path, data: Path, tmp_path: Path):
    """20 updates of the recipe of the same name at toy size; the JSON says how to make it anew, and the tolerance."""
    golden = json.loads(curve.read_text())
    file = next(file for file in RECIPES if file.stem == curve.stem)
    pretrain(file, data=data, out=tmp_path, settings=TOY, budget="20steps", device="cpu", quiet=True)
    assert losses(tmp_path) == pytest.approx(golden["losses"], rel=golden["relative_tolerance"])
