"""Fine-tuning as a job: it learns from a few hundred rows, resumes bit by bit, leaves a whole model folder."""

import dataclasses
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from jobs.small import WORDS, child, differences, encoder_in, labelled, losses, recipe, rows, steps_saved
from slimbert.data.tasks import Split, Task, load_task
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError, Interrupted, RunError
from slimbert.jobs.evaluate import evaluate
from slimbert.jobs.finetune import finetune
from slimbert.jobs.finetuned import Finetuned
from slimbert.jobs.heading import with_head
from slimbert.jobs.labelled import Labelled
from slimbert.jobs.predict import load
from slimbert.jobs.pretrain import pretrain
from slimbert.jobs.settings import Settings, default_lr, every
from slimbert.jobs.tasks import kind_for
from slimbert.model import ModelConfig, fresh, load_model, presets
from slimbert.model.heads import PoolerConfig, SequenceConfig
from slimbert.model.transform import put_tokens_back, with_tokens
from slimbert.train import checkpoints
from slimbert.train.engine import engine
from slimbert.train.loop import train
from slimbert.train.optim import OptimConfig, adamw
from slimbert.train.run import RunFolder
from slimbert.train.supervised import Supervised, one_class

pytestmark = pytest.mark.usefixtures("no_picture")
HERE: dict[str, Any] = {"device": "cpu", "quiet": True, "with_baselines": False}
QUICK = ("min_updates=12", "epochs=1", "evaluations=4", "batch_size=16")


@pytest.fixture(scope="module")
def learnt(encoder: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Finetuned:
    """With the defaults, from nothing but 200 rows."""
    return finetune(encoder, reviews, out=tmp_path_factory.mktemp("learnt") / "run", device="cpu", quiet=True)


# what comes out


def test_the_defaults_learn_from_200_rows(learnt: Finetuned):
    assert learnt.validation["accuracy"] > 0.9
    assert learnt.test is not None
    assert learnt.test["accuracy"] > 0.9
    assert learnt.test["accuracy_low"] <= learnt.test["accuracy"] <= learnt.test["accuracy_high"]
    assert learnt.labels == ("negative", "positive")
    assert set(learnt.baselines) == {"majority class", "TF-IDF + logistic regression"}


def test_the_run_folder_is_complete(learnt: Finetuned, reviews: Path):
    run = Path(learnt.run)
    for name in ("config.json", "model.safetensors", "README.md", "environment.json", "tokenizer.json", "recipe.yaml"):
        assert (run / name).stat().st_size > 0, name
    written = json.loads((run / "result.json").read_text())
    assert written == json.loads(json.dumps(learnt._asdict()))
    assert json.loads((run / "data.json").read_text())["sha256"] == load_task(reviews).sha256
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())  # what was chosen stands there, too
    assert (recipe["finetune"]["min_updates"], recipe["finetune"]["lr"]) == (150, default_lr(64))
    assert (recipe["task"]["kind"], recipe["task"]["label_column"]) == ("classification", "label")
    assert recipe["head"]["labels"] == ["negative", "positive"]
    training = [row for row in rows(run) if "loss" in row]
    assert [row["step"] for row in training] == list(range(1, learnt.updates + 1))
    assert any("val_loss" in row for row in rows(run))
    assert "negative, positive" in (run / "README.md").read_text()


def test_the_printed_score_is_that_of_the_saved_model(learnt: Finetuned, reviews: Path):
    test = load_task(reviews).test
    assert test is not None
    answers = load(learnt.run, device="cpu").predict(test.texts)
    right = [answer.label == learnt.labels[number] for answer, number in zip(answers, test.labels, strict=True)]
    assert np.mean(right) == pytest.approx(learnt.test["accuracy"])


def test_transformers_reads_the_folder(learnt: Finetuned):
    """1e-5: another order of sums in float32."""
    import transformers

    import slimbert.hf  # noqa: F401

    texts = [f"{WORDS[8]} {word} {WORDS[10]}" for word in ("bama", "kutu", "firi", "goso")]
    answer = transformers.pipeline("text-classification", model=learnt.run, device="cpu")
    ours = load(learnt.run, device="cpu").predict(texts)
    for theirs, mine in zip(answer(texts), ours, strict=True):
        assert theirs["label"] == mine.label
        assert theirs["score"] == pytest.approx(mine.score, abs=1e-5)


def test_pairs(encoder: Path, tmp_path: Path):
    data = labelled(tmp_path / "pairs.csv", pairs=True)
    made = finetune(encoder, data, out=tmp_path / "run", settings=QUICK, **HERE)
    assert (made.kind, made.labels) == ("pair", ("different", "same"))
    task = load(made.run, device="cpu").task
    assert task.text_columns == ("premise", "hypothesis")
    assert load(made.run, device="cpu").predict([("bama ba", "goso")])[0].label in made.labels


@pytest.mark.parametrize("pattern", ["2{sf}:2{sf}", "1{sf}:1{f}"])
def test_a_narrow_encoder_learns(data: Path, reviews: Path, tmp_path: Path, pattern: str):
    narrow = encoder_in(tmp_path / "encoder", data, pattern)
    settings = ("lr=1e-3", "min_updates=120")
    made = finetune(narrow, reviews, out=tmp_path / "run", settings=settings, **HERE)
    assert made.validation["accuracy"] > 0.8
    assert load_model(made.run).config.head.pool == "cls"


def test_a_pretrained_run_is_an_encoder(data: Path, reviews: Path, tmp_path: Path):
    pretrain(recipe(steps=2), data=data, out=tmp_path / "lm", device="cpu", quiet=True)
    made = finetune(tmp_path / "lm", reviews, out=tmp_path / "run", settings=QUICK, **HERE)
    assert isinstance(load_model(made.run).config.head, SequenceConfig)


# what is said


def test_cut_texts_are_counted_and_said(encoder: Path, reviews: Path, tmp_path: Path, capsys: Any):
    task = load_task(reviews)
    tokenizer = TextTokenizer.load(encoder)
    expected = float(np.mean(tokenizer.count(task.train.texts) > 8))
    assert 0 < expected < 1
    options = {**HERE, "quiet": False}
    made = finetune(encoder, reviews, out=tmp_path / "run", settings=(*QUICK, "max_len=8", "windows=cut"), **options)
    assert made.cut_share == expected
    told = capsys.readouterr().err
    assert f"{expected:.1%} of the training texts are longer than 8 tokens and were cut" in told
    assert all(note in told for note in made.notes)


def test_it_says_that_only_validation_is_labelled(encoder: Path, tmp_path: Path):
    folder = tmp_path / "task"
    folder.mkdir()
    labelled(folder / "train.csv", rows=80)
    labelled(folder / "validation.csv", rows=20, seed=1)
    (folder / "test.csv").write_text("text,label\nbama ba,-1\ngoso ba,-1\n")
    made = finetune(encoder, folder, out=tmp_path / "run", settings=QUICK, **HERE)
    assert any("only validation is labelled besides train: it is the test here" in note for note in made.notes)
    assert made.test["rows"] == 20


def test_the_last_progress_line_is_that_of_the_last_validation(
    encoder: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    finetune(encoder, reviews, out=tmp_path / "run", settings=QUICK, **{**HERE, "quiet": False})
    last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step 12/12")]
    (look,) = [row for row in rows(tmp_path / "run") if "val_loss" in row and row["step"] == 12]
    assert len(last) == 1
    assert f"val loss {look['val_loss']:.4f}" in last[0] and f"accuracy {look['accuracy']:.4f}" in last[0]


# whether data was trained on


def test_rows_that_were_trained_on_are_counted(learnt: Finetuned, reviews: Path, tmp_path: Path):
    task = load_task(reviews)
    assert evaluate(learnt.run, reviews, device="cpu").trained_on == len(task.train)
    assert evaluate(learnt.run, labelled(tmp_path / "new.csv", seed=9), device="cpu").trained_on == 0
    run = Path(shutil.copytree(learnt.run, tmp_path / "run"))
    (run / "trained_on.npy").write_bytes(b"no numbers")
    with pytest.raises(InputError, match=r"trained_on.npy: cannot be read .*; remove it, or fine-tune again"):
        evaluate(run, reviews, device="cpu")
    (run / "trained_on.npy").unlink()
    assert evaluate(run, reviews, device="cpu").trained_on is None


# how long it trains


@pytest.mark.parametrize(
    ("settings", "updates"),
    [
        (("epochs=1", "min_updates=20"), 20),
        (("epochs=4", "min_updates=0"), 40),
        (("epochs=4", "min_updates=20"), 40),
    ],
)
def test_epochs_and_the_minimum_of_updates(
    encoder: Path, reviews: Path, tmp_path: Path, settings: tuple[str, ...], updates: int
):
    """160 training rows in batches of 16 are 10 updates."""
    common = ("batch_size=16", "patience=99", "evaluations=2")
    assert finetune(encoder, reviews, out=tmp_path, settings=(*common, *settings), **HERE).updates == updates


def test_it_stops_early_and_keeps_the_best(encoder: Path, reviews: Path, tmp_path: Path):
    """A rate of almost 0 leaves the score where it was: nothing gets better after the first look."""
    settings = ("lr=1e-12", "patience=2", "evaluations=10", "min_updates=50", "epochs=1")
    made = finetune(encoder, reviews, out=tmp_path, settings=settings, **HERE)
    looks = [row for row in rows(tmp_path) if "val_loss" in row]
    assert made.updates == looks[-1]["step"] < 50
    best = checkpoints.best(tmp_path / "checkpoints").step
    ranks = [(row["accuracy"], -row["val_loss"]) for row in looks]
    assert looks[ranks.index(max(ranks))]["step"] == best
    assert made.validation["accuracy"] == max(row["accuracy"] for row in looks)
    assert looks[-1]["step"] - best == 2 * 5


# the same again


def test_a_seed_gives_one_result_and_another_seed_another(encoder: Path, reviews: Path, tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        finetune(encoder, reviews, out=tmp_path / name, settings=QUICK, seed=seed, **HERE)
    assert differences(tmp_path / "a", tmp_path / "b") == []
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


def test_kills_change_nothing(encoder: Path, reviews: Path, tmp_path: Path):
    settings = ("min_updates=40", "epochs=1", "evaluations=20", "batch_size=16", "patience=99")
    options = {"encoder": str(encoder), "data": str(reviews), "settings": settings, "with_baselines": False}
    finetune(encoder, reviews, out=tmp_path / "whole", settings=settings, **HERE)
    run = tmp_path / "run"
    for step in (5, 12, 27):
        process = child("finetune", **options, out=str(run), resume=True)
        while not run.joinpath("metrics.jsonl").exists() or max((row["step"] for row in seen(run)), default=0) < step:
            assert process.is_alive()
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    finetune(encoder, reviews, out=run, settings=settings, resume=True, **HERE)
    assert differences(run, tmp_path / "whole") == []
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("run", "whole")]
    assert [results[0][key] for key in ("validation", "test", "updates")] == [
        results[1][key] for key in ("validation", "test", "updates")
    ]


def seen(run: Path) -> list[dict[str, Any]]:
    """The whole rows of a file that is being written."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().split("\n")[:-1]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_checkpoints_and_the_run_goes_on(
    encoder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    finetune(encoder, reviews, out=tmp_path / "whole", settings=QUICK, **HERE)
    real, run = RunFolder.append, tmp_path / "run"

    def append(self: RunFolder, row: dict[str, Any]) -> None:
        real(self, row)
        if row["step"] == 7:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", append)
        with pytest.raises(Interrupted, match="stopped after step 7"):
            finetune(encoder, reviews, out=run, settings=QUICK, **HERE)
    assert 7 in steps_saved(run)
    finetune(encoder, reviews, out=run, settings=QUICK, resume=True, **HERE)
    assert differences(run, tmp_path / "whole") == []


def test_a_signal_while_the_baselines_are_made_is_heeded(
    encoder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from slimbert.jobs.tasks.classification import Classification

    def slow(*args: object, **options: object) -> list[Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return []

    run, beside = tmp_path / "run", {**HERE, "with_baselines": True}
    with monkeypatch.context() as patch:
        patch.setattr(Classification, "baselines", slow)
        with pytest.raises(Interrupted, match="SIGTERM"):
            finetune(encoder, reviews, out=run, settings=QUICK, **beside)
    assert (run / "model.safetensors").exists() and not (run / "result.json").exists()
    finetune(encoder, reviews, out=run, settings=QUICK, resume=True, **beside)
    assert (run / "result.json").exists()


def test_a_loss_that_is_not_finite_says_what_to_do(encoder: Path, reviews: Path, tmp_path: Path):
    with pytest.raises(RunError, match=r"is (nan|inf); begin again with a lower rate"):
        finetune(encoder, reviews, out=tmp_path / "run", settings=(*QUICK, "lr=1e30"), **HERE)


def test_resuming_leaves_what_is_not_a_run_alone(encoder: Path, reviews: Path):
    """Not even an encoder that was named as --out by mistake."""
    before = {path: path.read_bytes() for path in encoder.iterdir()}
    with pytest.raises(InputError, match="not a run: it holds neither"):
        finetune(encoder, reviews, out=encoder, resume=True, **HERE)
    assert {path: path.read_bytes() for path in encoder.iterdir()} == before


def test_resuming_with_other_data_or_settings_is_refused(encoder: Path, reviews: Path, data: Path, tmp_path: Path):
    run = tmp_path / "run"
    finetune(encoder, reviews, out=run, settings=QUICK, **HERE)
    before = {path: path.read_bytes() for path in run.glob("*.*")}
    other = encoder_in(tmp_path / "other", data, "1{sf}")
    more = labelled(tmp_path / "more.csv", seed=5)
    for source, table, settings in (
        (encoder, reviews, (*QUICK, "lr=1e-5")),
        (encoder, more, QUICK),
        (other, reviews, QUICK),
    ):
        with pytest.raises(InputError, match="made with another encoder, data or settings"):
            finetune(source, table, out=run, settings=settings, resume=True, **HERE)
    assert {path: path.read_bytes() for path in run.glob("*.*")} == before


def test_a_finished_run_is_left_as_it_is(learnt: Finetuned, encoder: Path, reviews: Path, tmp_path: Path):
    shutil.copytree(learnt.run, tmp_path / "run")
    again = finetune(encoder, reviews, out=tmp_path / "run", resume=True, **HERE)
    assert again.test == learnt.test
    assert differences(tmp_path / "run", Path(learnt.run)) == []


# what does not fit


@pytest.mark.parametrize(
    "setting",
    [
        "epochs=0",
        "batch_size=0",
        "max_len=2",
        "dropout=1",
        "pool=max",
        "lr=0",
        "lr=-1",
        "warmup=2",
        "seed=-1",
        "lrr=1",
        "weight_decay=-1",
        "layer_decay=0",
    ],
)
def test_wrong_settings_are_named(encoder: Path, reviews: Path, tmp_path: Path, setting: str):
    with pytest.raises(InputError, match=f"--set.{setting.partition('=')[0]}"):
        finetune(encoder, reviews, out=tmp_path / "run", settings=[setting], **HERE)
    assert not (tmp_path / "run").exists()


def test_mean_pooling_behind_a_narrowing_is_refused(data: Path, reviews: Path, tmp_path: Path):
    narrow = encoder_in(tmp_path / "encoder", data, "1{sf}:1{sf}")
    with pytest.raises(InputError, match="--set pool: mean, but this encoder narrows"):
        finetune(narrow, reviews, out=tmp_path / "run", settings=["pool=mean"], **HERE)


def test_a_folder_in_use_is_left_alone(encoder: Path, reviews: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        finetune(encoder, reviews, out=tmp_path, **HERE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_kind_that_was_asked_for(encoder: Path, reviews: Path, tmp_path: Path):
    with pytest.raises(InputError, match="the data looks like classification"):
        finetune(encoder, reviews, out=tmp_path / "run", kind="pair", **HERE)


# the head it starts from


def test_a_head_for_the_same_labels_is_kept(learnt: Finetuned, encoder: Path):
    model = load_model(learnt.run)
    old = model.config.head
    made = with_head(model, old, dropout=0.2, seed=3)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in made.state_dict().items())
    other = with_head(model, dataclasses.replace(old, labels=("positive", "negative")), dropout=0.2, seed=3)
    assert other.config.head.labels == ("positive", "negative")
    assert made.config.head.dropout == 0.2
    assert not torch.equal(other.head.classes.weight, model.head.classes.weight)


def test_a_pooler_is_taken_up():
    config = presets.from_pattern("1{sf}", dim=16, head_dim=8, vocab=20)
    model = fresh(ModelConfig(encoder=config, head=PoolerConfig()), 0)
    made = with_head(model, SequenceConfig(labels=("a", "b"), hidden="tanh"), dropout=0.1, seed=0)
    assert torch.equal(made.head.dense.weight, model.head.dense.weight)


def test_narrow_encoders_get_a_higher_rate():
    assert [default_lr(dim) for dim in (128, 256, 384, 512, 768)] == [4e-4, 2e-4, 1e-4, 5e-5, 5e-5]


# only the rows of the token table that occur


def test_many_validation_rows_are_scored_less_often():
    asked = Settings(evaluations=10, batch_size=32)
    assert every(asked, updates=150, validation=40) == 15
    assert every(asked, updates=180, validation=1916) == 60  # three times
    assert every(asked, updates=600, validation=2000) == 85  # seven times
    assert every(Settings(evaluations=1), updates=180, validation=1916) == 180


@pytest.fixture
def task() -> Task:
    texts = [f"{WORDS[i % 7]} {WORDS[i % 5]}" for i in range(24)]
    half = Split(texts, np.arange(24) % 2)
    return Task("classification", ("a", "b"), ("text",), "label", half, half, half, (), "0")


def test_training_the_compact_table_equals_training_the_whole(encoder: Path, task: Task):
    """Rows that never occur get no gradient; without decay (which shrinks them) both end in the same model.

    1e-6: the clipped norm sums in another order.
    """
    tokenizer = TextTokenizer.load(encoder)
    kind, _ = kind_for(task, tokenizer, Settings(), max_len=16)
    data = Labelled(task, kind, tokenizer)
    head = SequenceConfig(labels=task.labels, pool="mean", hidden=None)
    whole = with_head(load_model(encoder), head, dropout=0.0, seed=0)
    assert len(data.used) < tokenizer.vocab_size
    small = with_tokens(whole, data.used)
    batches = [data.batch("train", np.arange(i, i + 8), "cpu") for i in (0, 8, 16)]
    spelt = [{**batch, "input_ids": data.used[batch["input_ids"]]} for batch in batches]
    small.eval()
    whole.eval()
    for compact, full in zip(batches, spelt, strict=True):
        torch.testing.assert_close(
            small(compact["input_ids"], mask=compact.get("mask")), whole(full["input_ids"], mask=full.get("mask"))
        )
    made = []
    for model, feed in ((small, batches), (whole, spelt)):
        objective = Supervised(model, one_class)
        optimizer = adamw(objective, OptimConfig(lr=1e-3, weight_decay=0.0))
        for _ in train(objective, feed, optimizer, accelerator=engine(device="cpu")):
            pass
        trained = put_tokens_back(model, whole, data.used) if model is small else model
        made.append({name: value.clone() for name, value in trained.state_dict().items()})
    for name, value in made[1].items():
        torch.testing.assert_close(made[0][name], value, rtol=0, atol=1e-6, msg=name)


def test_the_table_is_put_back_whole(learnt: Finetuned, encoder: Path):
    """Tokens that did not occur are where they were, the others have moved."""
    before = load_model(encoder).encoder.embedding.token.weight
    after = load_model(learnt.run).encoder.embedding.token.weight
    moved = (before != after).any(dim=1)
    assert after.shape == before.shape
    tokenizer = TextTokenizer.load(encoder)
    assert moved[tokenizer.pieces.index("bama")]
    assert not moved[tokenizer.special.mask]
