"""Pretraining by detecting replaced tokens, as a job: what it leaves, resuming, continuing, and what does not fit."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import slimbert
from jobs.small import corpus, differences, labelled, recipe, replaced, rows, steps_saved
from jobs.stopped import HERE, counted, crashed
from slimbert.data.shards import Shards
from slimbert.errors import InputError
from slimbert.jobs.feed import Feed
from slimbert.jobs.finetune import finetune
from slimbert.jobs.pretrain import pretrain
from slimbert.jobs.resolve import resolve
from slimbert.jobs.source import open_model
from slimbert.model import ModelConfig, fresh, load_model, presets, save_model
from slimbert.model.generator import generator_of
from slimbert.model.heads import MaskedLmConfig, ReplacedTokenConfig
from slimbert.train import checkpoints
from slimbert.train.engine import engine
from slimbert.train.recipe import read_recipe
from slimbert.train.run import RunFolder

pytestmark = pytest.mark.usefixtures("no_picture")
NARROW = replaced(generator={"narrow": 1})
TABLES = [f"encoder.embedding.{n}" for n in ("token.weight", "position.weight", "norm.weight", "norm.bias")]
SCORES = {"val_loss", "val_mlm", "val_rtd", "val_replaced", "val_accuracy", "val_precision", "val_recall", "val_auc"}


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps with a narrow generator and dropout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "plot", lambda self: None)
        out = tmp_path_factory.mktemp("run")
        pretrain(DROPPED, data=data, out=out, **HERE)
    return out


DROPPED = recipe(steps=12, dropout=0.1, checkpoint_every=3, evaluate_every=4, keep=3, objective=NARROW)


# batches


def test_a_batch_brings_its_draws_as_a_function_of_the_step(data: Path):
    """And shows [MASK] or the token itself, nothing random."""
    shards = Shards.open(data)
    feed = Feed(resolve(recipe(objective=replaced(masked=0.5)), shards), shards, engine(device="cpu"))
    some = list(itertools.islice(feed.training(0), 12))  # more than an epoch: the padded row is among them
    again = next(feed.training(5))
    assert all(torch.equal(some[5][name], again[name]) for name in again)
    shown = []
    for batch in some:
        assert batch["draws"].shape == batch["labels"].shape
        assert ((batch["draws"] >= 0) & (batch["draws"] < 1)).all()
        real = batch["mask"].sum() if "mask" in batch else torch.tensor(batch["input_ids"].numel())
        assert batch["real_total"] == real
        seen = batch["input_ids"].gather(1, batch["positions"])
        hidden = seen == feed.masking.mask_id
        assert torch.equal(seen[~hidden], batch["labels"][~hidden])
        shown.append(hidden.float().mean())
    assert 0.3 < float(torch.stack(shown).mean()) < 0.7  # 192 places, half of them hidden


def test_masked_language_models_draw_what_they_drew(data: Path):
    """Batches of masked LM know nothing of draws, and the places are the same whatever the objective."""
    shards = Shards.open(data)
    plain, other = (
        next(Feed(resolve(recipe(objective=objective), shards), shards, engine(device="cpu")).training(0))
        for objective in (None, replaced())
    )
    assert "draws" not in plain
    assert torch.equal(plain["positions"], other["positions"])


# the run folder


def test_the_run_leaves_the_model_and_its_generator(run: Path, data: Path):
    model, generator = load_model(run), load_model(run / "generator")
    assert model.config.head == ReplacedTokenConfig()
    assert generator.config.head == MaskedLmConfig()
    assert [step.kind for step in generator.config.encoder.layers] == ["layer", "narrow", "layer"]
    assert (generator.config.encoder.dim, generator.config.encoder.embedding.width) == (8, 32)
    assert generator.config.special == model.config.special
    for name in TABLES:
        assert torch.equal(generator.state_dict()[name], model.state_dict()[name])
    found = slimbert.load(run / "generator", device="cpu").fill("bama [MASK] dene", top=2)
    assert len(found[0]) == 2
    card = (run / "README.md").read_text()
    assert "tells replaced tokens from original ones" in card
    assert "`AutoModel.from_pretrained" in card
    shards, written = Shards.open(data), read_recipe(run / "recipe.yaml")
    assert resolve(written, shards) == resolve(DROPPED, shards)  # what was resolved stays as it is


def test_metrics_carry_both_terms_and_the_scores_of_detection(run: Path):
    read = rows(run)
    training, validation = [r for r in read if "loss" in r], [r for r in read if "val_loss" in r]
    assert [row["step"] for row in validation] == [4, 8, 12]
    for row in training:
        assert row["loss"] == pytest.approx(row["mlm"] + 50 * row["rtd"], rel=1e-5)
        assert row.keys() == {"step", "loss", "mlm", "rtd", "tokens", "lr", "norm"}
    for row in validation:
        assert row.keys() == SCORES | {"step", "tokens"}
        assert row["val_loss"] == pytest.approx(row["val_mlm"] + 50 * row["val_rtd"], rel=1e-5)
        assert 0 < row["val_replaced"] < 0.2  # at most 15% of the tokens
    assert json.loads((run / "result.json").read_text())["val_loss"] == validation[-1]["val_loss"]
    best = min(validation, key=lambda row: row["val_loss"])
    assert checkpoints.best(run / "checkpoints").step == best["step"]


def test_progress_shows_both_terms(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pretrain(recipe(steps=2, objective=replaced()), data=data, out=tmp_path, device="cpu")
    told = capsys.readouterr().err
    assert all(f"  {name} " in told for name in ("loss", "mlm", "rtd"))


def test_masked_language_models_are_recorded_as_before(data: Path, tmp_path: Path):
    """No further columns, and checkpoints that fit those made before there was a choice of objectives."""
    pretrain(recipe(steps=2), data=data, out=tmp_path, **HERE)
    assert rows(tmp_path)[0].keys() == {"step", "loss", "tokens", "lr", "norm"}
    assert rows(tmp_path)[-1].keys() == {"step", "val_loss", "tokens"}
    identity = checkpoints.newest(tmp_path / "checkpoints").state["run"]
    assert identity.keys() == {"model", "masking", "train", "data"}
    assert identity["masking"] == {"rate": 0.15, "whole_word": False}
    assert not (tmp_path / "generator").exists()
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["objective"] == {"kind": "masked_lm"}


# resuming


@pytest.mark.parametrize(
    "plain",
    [
        recipe(steps=9, checkpoint_every=4, objective=replaced()),
        recipe(steps=9, checkpoint_every=4, objective=NARROW, dropout=0.1, accumulate=2),
        recipe(steps=9, checkpoint_every=4, objective=replaced(share="none"), precision="bfloat16"),
    ],
    ids=["wide", "narrow", "apart"],
)
def test_resuming_is_bit_identical(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: dict[str, Any]):
    """The rows, the model, and the generator."""
    pretrain(plain, data=data, out=tmp_path / "whole", **HERE)
    crashed(monkeypatch, tmp_path / "run", plain, data, 6)
    assert steps_saved(tmp_path / "run") == [4]
    pretrain(plain, data=data, out=tmp_path / "run", resume=True, **HERE)
    assert differences(tmp_path / "run", tmp_path / "whole") == []


@pytest.mark.parametrize(
    "setting",
    ["objective.rtd_weight=20", "objective.masked=0.5", "objective.generator.narrow=0", "objective.share=none"],
)
def test_resuming_another_objective_is_refused(data: Path, run: Path, tmp_path: Path, setting: str):
    shutil.copytree(run, tmp_path / "run")
    with pytest.raises(InputError, match="made by another recipe or other data"):
        pretrain(DROPPED, data=data, out=tmp_path / "run", resume=True, settings=[setting], **HERE)
    assert differences(tmp_path / "run", run) == []


def test_an_unfinished_run_is_its_model(run: Path, tmp_path: Path):
    shutil.copytree(run / "checkpoints", tmp_path / "checkpoints")
    shutil.copy(run / "recipe.yaml", tmp_path)
    found, _, notes = open_model(tmp_path)
    assert "step 12" in notes[0]
    assert equal(found, load_model(run))


# continuing from a model


STILL = {"lr": 1e-12, "weight_decay": 0.0}  # leaves the weights where they were


def equal(one: nn.Module, other: nn.Module) -> bool:
    """The same tensors, but for what an update at a rate of almost 0 does."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.allclose(ours[n], theirs[n], rtol=0, atol=1e-9) for n in ours)


def test_a_run_is_continued_with_its_generator(run: Path, data: Path, tmp_path: Path):
    """Both go on: the scores of the first validation are those of the last."""
    plain = recipe(steps=1, optim=STILL, objective=replaced(generator={"init_from": str(run / "generator")}))
    made = pretrain(plain, data=data, out=tmp_path / "on", init_from=run, **HERE)
    assert equal(load_model(tmp_path / "on"), load_model(run))
    assert equal(load_model(tmp_path / "on" / "generator"), load_model(run / "generator"))
    assert made.val_loss == pytest.approx(json.loads((run / "result.json").read_text())["val_loss"], rel=1e-4)


def test_any_encoder_is_continued_with_a_fresh_generator(data: Path, tmp_path: Path):
    """Its tables are the source's, and so are the generator's."""
    pretrain(recipe(steps=2), data=data, out=tmp_path / "lm", **HERE)
    plain = recipe(layers="1{s}", steps=1, optim=STILL, objective=NARROW)
    pretrain(plain, data=data, out=tmp_path / "on", init_from=tmp_path / "lm", **HERE)
    source, model, generator = (load_model(tmp_path / name) for name in ("lm", "on", "on/generator"))
    assert equal(model.encoder, source.encoder)
    for name in TABLES:
        torch.testing.assert_close(generator.state_dict()[name], source.state_dict()[name], rtol=0, atol=1e-9)


def test_a_fresh_model_takes_the_tables_that_its_generator_begins_with(data: Path, tmp_path: Path):
    pretrain(recipe(layers="1{sf}", steps=2), data=data, out=tmp_path / "lm", **HERE)
    begin = replaced(generator={"init_from": str(tmp_path / "lm")})
    pretrain(recipe(steps=1, optim=STILL, objective=begin), data=data, out=tmp_path / "run", **HERE)
    source, model, generator = (load_model(tmp_path / name) for name in ("lm", "run", "run/generator"))
    assert equal(generator, source)
    for name in TABLES:
        torch.testing.assert_close(model.state_dict()[name], source.state_dict()[name], rtol=0, atol=1e-9)
    assert (len(model.config.encoder.layers), len(generator.config.encoder.layers)) == (2, 1)


# what comes after


def test_fine_tuning_and_transformers_read_the_run(run: Path, tmp_path: Path):
    from transformers import AutoModel

    import slimbert.hf

    data = labelled(tmp_path / "data.csv", rows=120)
    quick = ("epochs=1", "min_updates=4", "evaluations=1", "precision=float32")
    made = finetune(run, data, out=tmp_path / "tuned", settings=quick, with_baselines=False, **HERE)
    assert made.updates >= 4
    assert load_model(tmp_path / "tuned").config.head.labels == ("negative", "positive")
    theirs, ours = AutoModel.from_pretrained(run), load_model(run)
    assert isinstance(theirs, slimbert.hf.SlimbertModel)
    ids = torch.randint(5, 30, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(theirs(ids).last_hidden_state, ours.encoder(ids).state.x)


def test_it_answers_nothing_by_itself(run: Path):
    predictor = slimbert.load(run, device="cpu")
    with pytest.raises(InputError, match=r"it was not fine-tuned \(its head: replaced_token\); fine-tune it first"):
        predictor.predict(["bama"])
    with pytest.raises(InputError, match="no masked-LM head; use the generator/ of its run"):
        predictor.fill("bama [MASK]")


# what does not fit


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("layers=9",), r"generator\.layers: 9, the model has 2; give as many at most"),
        (("narrow=2",), r"generator\.narrow: 2, the generator has 2 layers; narrow before the last"),
        (("layers=1", "narrow=1"), r"generator\.narrow: 1, the generator has 1 layers"),
        (("width=0",), r"generator\.width: 0\.0 is no width; give a share"),
        (("head={kind: sequence, labels: [a, b]}",), r"generator\.head: sequence: a generator answers with tokens"),
        (("encoder={pattern: '1{sf}', dim: 8, head_dim: 8, vocab: 7}",), r"generator\.encoder: another embedding than"),
        (("encoder={pattern: '1{sf}', embedding: {width: 4}}",), r"generator\.encoder\.embedding: another embedding"),
        (("encoder={pattern: '1{sf}', embedding: {kind: tokens}}",), r"generator\.encoder\.embedding"),
        (("encoder={pattern: '1{xf}'}",), r"no mixer has the letter 'x'"),
        (("init_from=nowhere/at/all",), r"nowhere/at/all"),
    ],
)
def test_generators_that_do_not_fit(data: Path, tmp_path: Path, settings: tuple[str, ...], message: str):
    assignments = [f"objective.generator.{one}" for one in settings]
    with pytest.raises(InputError, match=message) as told:
        pretrain(recipe(objective=replaced()), data=data, out=tmp_path / "run", settings=assignments, **HERE)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ("objective.share=none", "objective.generator.encoder={pattern: '1{sf}', vocab: 7}"),
            r"generator\.encoder\.vocab: not the \d+ tokens of the model",
        ),
        (
            ("objective.share=none", "objective.generator.encoder={pattern: '1{sf}', max_len: 8}"),
            r"generator\.encoder\.embedding\.max_len: 8, the prepared data has rows of 16",
        ),
        (
            ("model.encoder.layers.0.mix.1.groups=16",),
            r"generator\.encoder\.layers\[0\]\.mix\[1\]\.groups: 16 groups do not divide 8 and 16",
        ),
        (
            ("model.head={kind: masked_lm}",),
            r"recipe\.model\.head: masked_lm, replaced_tokens trains a replaced_token; leave it out, or --set",
        ),
    ],
)
def test_models_and_generators_that_do_not_fit(data: Path, tmp_path: Path, settings: tuple[str, ...], message: str):
    with pytest.raises(InputError, match=message):
        pretrain(recipe(objective=replaced()), data=data, out=tmp_path / "run", settings=settings, **HERE)
    assert not (tmp_path / "run").exists()


def test_the_remedies_work(data: Path):
    """Of a recipe for masked LM: both settings make it one of replaced tokens; a shared table may become its own."""
    shards = Shards.open(data)
    plain = recipe()
    plain["model"]["head"] = {"kind": "masked_lm"}
    settings = ("objective.kind=replaced_tokens", "model.head={kind: replaced_token}")
    assert resolve(plain, shards, settings=settings) == resolve(recipe(objective=replaced()), shards)
    own = ("objective.share=none", "objective.generator.encoder={pattern: '1{sf}', dim: 8, head_dim: 8}")
    generator = resolve(recipe(objective=replaced()), shards, settings=own).objective.generator
    assert (generator.encoder.embedding.vocab, generator.encoder.embedding.width) == (shards.vocab_size, None)


def test_a_generator_to_begin_with_must_fit(data: Path, run: Path, tmp_path: Path):
    def refused(name: Path, message: str, **generator: Any) -> None:
        plain = recipe(objective=replaced(generator={"init_from": str(name), **generator}))
        with pytest.raises(InputError, match=message):
            pretrain(plain, data=data, out=tmp_path / "run", **HERE)

    vocab = Shards.open(data).vocab_size
    narrow = generator_of(presets.from_pattern("2{sf}", dim=16, head_dim=8, vocab=vocab, max_len=32))
    save_model(fresh(ModelConfig(encoder=narrow, head=MaskedLmConfig()), 0), tmp_path / "narrow")
    refused(tmp_path / "narrow", r"generator\.init_from: its token table is 16 wide, the model's 32")
    refused(run, r"generator\.init_from: replaced_token: a generator answers with tokens")
    other = {"pattern": "1{sf}", "dim": 8, "head_dim": 8}
    refused(run / "generator", r"generator\.encoder: not that of", encoder=other)
    (tmp_path / "other").mkdir()
    elsewhere = corpus(tmp_path / "other", seed=3, documents=10, validation=0.2)
    pretrain(recipe(steps=1), data=elsewhere, out=tmp_path / "lm", **HERE)
    refused(tmp_path / "lm", r"generator\.init_from: its \d+ tokens are not the \d+ of the model")


# compiled


@pytest.mark.parametrize("objective", [replaced(), NARROW], ids=["wide", "narrow"])
def test_a_compiled_run_is_one_graph(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: Any):
    """Over an epoch and more, in bfloat16, with dropout, validation, accumulation and a padded last row."""
    counters = counted(monkeypatch, "eager")
    settings = ("train.compile=true", "train.precision=bfloat16")
    plain = recipe(steps=12, dropout=0.1, accumulate=2, evaluate_every=4, objective=objective)
    pretrain(plain, data=data, out=tmp_path, settings=settings, **HERE)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
