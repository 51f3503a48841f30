"""Pretraining as a job: what a run folder holds, budgets, what does not fit, resuming bit by bit."""

import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from jobs.small import corpus, differences, losses, recipe, rows, steps_saved
from jobs.stopped import HERE, counted, crashed, stop_at
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError, Interrupted, RunError
from slimbert.jobs.feed import Feed
from slimbert.jobs.pretrain import pretrain
from slimbert.jobs.resolve import resolve
from slimbert.model import ModelConfig, fresh, load_model, presets, save_model
from slimbert.train import checkpoints
from slimbert.train.engine import engine
from slimbert.train.environment import compile_problem
from slimbert.train.run import RunFolder

pytestmark = pytest.mark.usefixtures("no_picture")


def feed_of(data: Path, *settings: str) -> Feed:
    shards = Shards.open(data)
    return Feed(resolve(recipe(), shards, settings=settings), shards, engine(device="cpu"))


def damage(path: Path) -> None:
    """Flip one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# what a batch is


@pytest.mark.parametrize("setting", ["masking.whole_word=false", "masking.whole_word=true"])
def test_every_row_predicts_the_same_number_of_places(data: Path, setting: str):
    feed = feed_of(data, setting)
    for batch in itertools.islice(feed.training(0), 12):  # more than an epoch: the padded row is among them
        assert batch["positions"].shape == batch["labels"].shape == batch["weights"].shape == (8, 2)  # 15% of 16
        assert (batch["positions"].diff(dim=1) > 0).all()
        real = batch["input_ids"] != feed.pad
        assert real.gather(1, batch["positions"])[batch["weights"] > 0].all()
        assert ("mask" in batch) == (not real.all())


def test_batches_are_a_function_of_the_step(data: Path):
    feed = feed_of(data)
    fifth = next(itertools.islice(feed.training(0), 5, None))
    again = next(feed.training(5))
    other = next(feed.training(6))
    assert fifth.keys() == again.keys()
    assert all(torch.equal(fifth[name], again[name]) for name in fifth)
    assert not torch.equal(fifth["input_ids"], other["input_ids"])


def test_validation_is_masked_the_same_way_each_time(data: Path):
    feed, shards = feed_of(data, "train.evaluate_rows=100"), Shards.open(data, split="validation")
    first, second = list(feed.validation(shards)), list(feed.validation(shards))
    assert sum(len(batch["input_ids"]) for batch in first) == len(shards)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_micro_batches_share_the_weight_of_their_update(data: Path):
    whole = next(feed_of(data).training(0))
    feed = Feed(resolve(recipe(accumulate=4), Shards.open(data)), Shards.open(data), engine(device="cpu", accumulate=4))
    pieces = list(itertools.islice(feed.training(0), 4))
    assert torch.equal(torch.cat([piece["input_ids"] for piece in pieces]), whole["input_ids"])
    assert all(piece["total"] == whole["total"] / 4 for piece in pieces)


# the run folder


def test_the_run_folder_is_complete(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()  # with its picture
    made = pretrain(
        recipe(steps=6, evaluate_every=3, checkpoint_every=2, keep=2), data=data, out=tmp_path / "run", **HERE
    )
    run = tmp_path / "run"
    for name in ("config.json", "model.safetensors", "README.md", "environment.json", "loss.png", "tokenizer.json"):
        assert (run / name).stat().st_size > 0, name
    written = yaml.safe_load((run / "recipe.yaml").read_text())
    assert written["model"]["encoder"]["embedding"]["vocab"] == Shards.open(data).vocab_size
    assert written["data"]["seq_len"] == 16
    assert json.loads((run / "data.json").read_text())["sha256"] == Shards.open(data).sha256
    assert json.loads((run / "result.json").read_text()) == made._asdict()
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    training, validation = [r for r in read if "loss" in r], [r for r in read if "val_loss" in r]
    assert [row["step"] for row in training] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in validation] == [3, 6]
    assert all(row.keys() >= {"step", "loss", "tokens", "seconds"} for row in training)
    assert not any("loss" in row for row in validation)
    assert training[-1]["tokens"] == made.tokens == 6 * 8 * 16
    assert made.loss == training[-1]["loss"]
    assert made.val_loss == validation[-1]["val_loss"]
    model = load_model(run)
    assert model.config.special.mask == TextTokenizer.load(run).special.mask


def test_the_last_checkpoints_and_the_best_are_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    values = iter([3.0, 1.0, 2.0, 2.5, 1.5])
    monkeypatch.setattr("slimbert.jobs.pretrain.validate", lambda *_, **__: {"val_loss": next(values)})
    pretrain(recipe(steps=10, evaluate_every=2, checkpoint_every=2, keep=2), data=data, out=tmp_path, **HERE)
    assert steps_saved(tmp_path) == [4, 8, 10]
    assert checkpoints.best(tmp_path / "checkpoints").step == 4
    assert checkpoints.newest(tmp_path / "checkpoints").step == 10


def test_the_best_checkpoint_is_saved_where_it_was_measured(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    values = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr("slimbert.jobs.pretrain.validate", lambda *_, **__: {"val_loss": next(values)})
    pretrain(recipe(steps=8, evaluate_every=3, checkpoint_every=4, keep=1), data=data, out=tmp_path, **HERE)
    assert steps_saved(tmp_path) == [3, 8]
    assert checkpoints.best(tmp_path / "checkpoints").step == 3


def test_without_validation(tmp_path: Path):
    made = pretrain(recipe(), data=corpus(tmp_path, validation=0.0), out=tmp_path / "run", **HERE)
    assert made.val_loss is None
    assert steps_saved(tmp_path / "run") == [8]


def test_accumulation_changes_no_loss(data: Path, tmp_path: Path):
    """Float32 sums in another order: 1e-5, which the updates before may enlarge."""
    for accumulate in (1, 4):
        pretrain(recipe(accumulate=accumulate, steps=12), data=data, out=tmp_path / str(accumulate), **HERE)
    assert losses(tmp_path / "4") == pytest.approx(losses(tmp_path / "1"), rel=1e-5)


# budgets


def test_a_budget_in_tokens_makes_the_update_that_reaches_it(data: Path, tmp_path: Path):
    made = pretrain(recipe(tokens=1000), data=data, out=tmp_path, **HERE)
    assert (made.steps, made.tokens) == (8, 8 * 8 * 16)  # 7 updates are 896 tokens


@pytest.mark.usefixtures("clock")
def test_a_budget_in_time_ends_near_it_and_cools_down(data: Path, tmp_path: Path):
    made = pretrain(recipe(steps=10**6), data=data, out=tmp_path, budget="3s", **HERE)
    assert 2.9 < made.seconds < 3.1
    rates = [row["lr"] for row in rows(tmp_path) if "lr" in row]
    assert max(rates) == 3e-3
    assert rates[0] < 1e-3
    assert rates[-1] < 5e-4
    assert steps_saved(tmp_path)[-1] == made.steps
    again = pretrain(recipe(steps=10**6), data=data, out=tmp_path, budget="3s", resume=True, **HERE)
    assert again == made


def test_the_rates_of_a_budget_in_steps(data: Path, tmp_path: Path):
    """Each update has the rate at the middle of its share: none is wasted on a rate of 0."""
    optim = {"course": "linear", "warmup": 0.5, "lr": 1e-2}
    pretrain(recipe(steps=4, optim=optim), data=data, out=tmp_path, **HERE)
    rates = [row["lr"] for row in rows(tmp_path) if "lr" in row]
    assert rates == pytest.approx([0.0025, 0.0075, 0.0075, 0.0025])


# what does not fit


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (("model.encoder.embedding.vocab=77",), r"recipe\.model\.encoder\.embedding\.vocab: 77 tokens"),
        (("model.encoder.embedding={kind: absolute, vocab: 77}",), r"recipe\.model\.encoder\.embedding\.vocab: 77"),
        (("model.encoder={pattern: '1{sf}', vocab: 77}",), r"recipe\.model\.encoder\.vocab: 77 tokens"),
        (("data.seq_len=32",), r"recipe\.data\.seq_len: 32, the prepared data has rows of 16"),
        (("model.encoder.embedding.max_len=8",), r"recipe\.model\.encoder\.embedding\.max_len: 8"),
        (("train.batch_size=6", "train.accumulate=4"), r"recipe\.train\.accumulate"),
        (("model.head={kind: masked}",), r"recipe\.model\.head\.kind"),
        (("model=5",), r"recipe\.model"),
    ],
)
def test_what_conflicts_with_the_data_is_told(data: Path, tmp_path: Path, settings: tuple[str, ...], place: str):
    with pytest.raises(InputError, match=place):
        pretrain(recipe(), data=data, out=tmp_path / "run", settings=settings, **HERE)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("encoder", [{"preset": "bert_tiny"}, {"pattern": "1{sf}", "dim": 16}])
def test_vocabulary_and_length_come_from_the_data(data: Path, encoder: dict[str, Any]):
    shards = Shards.open(data)
    made = resolve({**recipe(), "model": {"encoder": encoder}}, shards)
    assert (made.model.encoder.embedding.vocab, made.data.seq_len) == (shards.vocab_size, 16)
    settings = (f"model.encoder.embedding.vocab={shards.vocab_size}", "data.seq_len=16")
    assert resolve({**recipe(), "model": {"encoder": encoder}}, shards, settings=settings) == made


def test_an_explicit_preset_size_still_conflicts(data: Path):
    plain = {**recipe(), "model": {"encoder": {"preset": "bert_tiny", "embedding": {"vocab": 30522}}}}
    with pytest.raises(InputError, match=r"embedding\.vocab: 30522 tokens"):
        resolve(plain, Shards.open(data))


def test_a_folder_in_use_is_left_alone(data: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty; go on with --resume"):
        pretrain(recipe(), data=data, out=tmp_path, **HERE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("file", ["manifest.json", "train-00000.bin"])
def test_damaged_data_is_told(data: Path, tmp_path: Path, file: str):
    shutil.copytree(data, tmp_path / "data")
    damage(tmp_path / "data" / file)
    with pytest.raises(InputError, match=r"data"):
        pretrain(recipe(), data=tmp_path / "data", out=tmp_path / "run", **HERE)


# resuming


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of 12 steps, with dropout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "plot", lambda self: None)
        out = tmp_path_factory.mktemp("whole")
        pretrain(DROPPED, data=data, out=out, **HERE)
    return out


DROPPED = recipe(steps=12, dropout=0.1, checkpoint_every=3, evaluate_every=4, keep=3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_checkpoints_and_the_run_goes_on_bit_identically(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    with monkeypatch.context() as patch:
        stop_at(patch, 7, lambda: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted, match=rf"{number.name}: at step 7; go on with --resume") as stopped:
            pretrain(DROPPED, data=data, out=tmp_path, **HERE)
    assert stopped.value.exit_code == 130
    assert steps_saved(tmp_path)[-1] == 7
    pretrain(DROPPED, data=data, out=tmp_path, resume=True, **HERE)
    assert differences(tmp_path, whole) == []


@pytest.mark.parametrize(
    "plain",
    [
        recipe(steps=9, accumulate=2, dropout=0.1, checkpoint_every=4),
        recipe(steps=9, layers="1{sf}:1{sf}", checkpoint_every=4),
        recipe(steps=9, precision="bfloat16", checkpoint_every=4),
        recipe(tokens=9 * 8 * 16, checkpoint_every=4),
    ],
    ids=["accumulation", "narrow", "bfloat16", "tokens"],
)
def test_resuming_is_bit_identical(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: dict[str, Any]):
    pretrain(plain, data=data, out=tmp_path / "whole", **HERE)
    crashed(monkeypatch, tmp_path / "run", plain, data, 6)
    pretrain(plain, data=data, out=tmp_path / "run", resume=True, **HERE)
    assert differences(tmp_path / "run", tmp_path / "whole") == []


def test_a_broken_newest_checkpoint_is_named_and_skipped(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    crashed(monkeypatch, tmp_path, DROPPED, data, 7)
    assert steps_saved(tmp_path) == [3, 4, 6]
    damage(tmp_path / "checkpoints" / "step-6" / "tensors.safetensors")
    pretrain(DROPPED, data=data, out=tmp_path, resume=True, device="cpu")
    told = capsys.readouterr().err
    assert "step-6: broken checkpoint: tensors.safetensors has changed" in told
    assert "going on from step 4" in told
    assert differences(tmp_path, whole) == []


def test_no_whole_checkpoint_starts_at_0_and_says_so(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    crashed(monkeypatch, tmp_path, DROPPED, data, 2)
    pretrain(DROPPED, data=data, out=tmp_path, resume=True, device="cpu")
    assert "no whole checkpoint yet: starting at step 0" in capsys.readouterr().err
    assert differences(tmp_path, whole) == []


def test_no_folder_yet_starts_at_0_and_says_so(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    made = pretrain(recipe(steps=2), data=data, out=tmp_path / "new" / "run", resume=True, device="cpu")
    assert made.steps == 2
    assert "no whole checkpoint yet: starting at step 0" in capsys.readouterr().err


def test_metrics_are_cut_back_and_a_torn_line_dropped(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    crashed(monkeypatch, tmp_path, DROPPED, data, 8)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "los')
    pretrain(DROPPED, data=data, out=tmp_path, resume=True, **HERE)
    assert differences(tmp_path, whole) == []


def test_a_finished_run_is_left_as_it_is(data: Path, whole: Path, tmp_path: Path):
    shutil.copytree(whole, tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    result = json.loads((whole / "result.json").read_text())
    again = pretrain(DROPPED, data=data, out=tmp_path / "run", resume=True, **HERE)
    assert again._asdict() == {**result, "run": str(tmp_path / "run")}
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    assert differences(tmp_path / "run", whole) == []


def test_a_finished_run_may_go_on_to_a_larger_budget(data: Path, whole: Path, tmp_path: Path):
    shutil.copytree(whole, tmp_path / "run")
    made = pretrain(DROPPED, data=data, out=tmp_path / "run", budget="15steps", resume=True, **HERE)
    assert made.steps == 15
    assert losses(tmp_path / "run")[:12] == losses(whole)


@pytest.mark.parametrize("setting", ["train.seed=5", "masking.rate=0.3", "train.batch_size=4", "train.accumulate=2"])
def test_resuming_another_run_is_refused(data: Path, whole: Path, tmp_path: Path, setting: str):
    shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(InputError, match="made by another recipe or other data"):
        pretrain(DROPPED, data=data, out=tmp_path / "run", resume=True, settings=[setting], **HERE)
    assert differences(tmp_path / "run", whole) == []
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == (whole / "recipe.yaml").read_bytes()


# what goes wrong on the way


def test_a_loss_that_is_not_finite_stops_at_the_last_good_checkpoint(data: Path, tmp_path: Path):
    wild = ("optim.lr=1e30", "optim.warmup=0.9")
    with pytest.raises(RunError, match=r"step \d+: .* is (nan|inf); the checkpoint of step \d+ stands") as stopped:
        pretrain(recipe(steps=50, checkpoint_every=1), data=data, out=tmp_path, settings=wild, **HERE)
    assert stopped.value.exit_code == 1
    found = checkpoints.newest(tmp_path / "checkpoints")
    assert found is not None
    assert found.skipped == ()
    assert all(value.isfinite().all() for name, value in found.tensors.items() if name.startswith("objective."))
    assert found.step == len(losses(tmp_path))


def test_a_loss_that_is_not_finite_before_any_checkpoint(data: Path, tmp_path: Path):
    wild = ("optim.lr=1e30", "optim.warmup=0.9")
    with pytest.raises(RunError, match=r"nothing was checkpointed yet"):
        pretrain(recipe(steps=50, checkpoint_every=100), data=data, out=tmp_path, settings=wild, **HERE)
    assert checkpoints.newest(tmp_path / "checkpoints") is None


def test_a_validation_loss_that_is_not_finite_is_never_the_best(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told = iter([float("nan"), 3.0, 4.0, 5.0])
    monkeypatch.setattr("slimbert.jobs.pretrain.validate", lambda *args, **kwargs: {"val_loss": next(told)})
    pretrain(recipe(steps=6, checkpoint_every=100, evaluate_every=2), data=data, out=tmp_path, **HERE)
    best = checkpoints.best(tmp_path / "checkpoints")
    assert best is not None
    assert best.step == 4


def test_resuming_leaves_what_is_not_a_run_alone(data: Path, tmp_path: Path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match="not a run: it holds neither"):
        pretrain(recipe(steps=2), data=data, out=tmp_path, resume=True, **HERE)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_signal_after_the_last_update_is_heeded(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def scored(*args: object, **kwargs: object) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"val_loss": 1.0}

    with monkeypatch.context() as patch:
        patch.setattr("slimbert.jobs.pretrain.validate", scored)
        with pytest.raises(Interrupted, match="SIGTERM: at step 3"):
            pretrain(recipe(steps=3, evaluate_every=100), data=data, out=tmp_path, **HERE)
    assert not (tmp_path / "model.safetensors").exists()
    assert pretrain(recipe(steps=3, evaluate_every=100), data=data, out=tmp_path, resume=True, **HERE).steps == 3


def test_another_tokenizer_beside_the_data_is_told(data: Path, tmp_path: Path):
    shutil.copytree(data, tmp_path / "data")
    texts = ["some other words than those", "other words"]
    TextTokenizer.train(texts * 3, 60).save(tmp_path / "data" / "tokenizer")
    with pytest.raises(InputError, match="not the tokenizer that made these tokens"):
        pretrain(recipe(steps=2), data=tmp_path / "data", out=tmp_path / "run", **HERE)


def test_a_full_disk_stops_and_the_run_goes_on_later(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, count = checkpoints.save_file, itertools.count()

    def full(*arguments: Any) -> None:
        if next(count) == 2:
            raise OSError(28, "No space left on device")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        with pytest.raises(
            InputError, match=r"not enough disk: .* are needed, .* are free; .* free some space and res"
        ):
            pretrain(DROPPED, data=data, out=tmp_path, **HERE)
    assert steps_saved(tmp_path) == [3, 4]
    pretrain(DROPPED, data=data, out=tmp_path, resume=True, **HERE)
    assert differences(tmp_path, whole) == []


# continuing from a model


def test_continuing_keeps_the_encoder_and_its_head(data: Path, whole: Path, tmp_path: Path):
    """A rate of almost 0 leaves the weights where they were: the first loss is that of the source."""
    still = recipe(layers="1{s}", steps=1, batch_size=64, optim={"lr": 1e-12, "weight_decay": 0.0})
    made = pretrain(still, data=data, out=tmp_path / "run", init_from=whole, settings=("data.seq_len=16",), **HERE)
    source, model = load_model(whole), load_model(tmp_path / "run")
    assert model.config == source.config
    for name, value in source.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=1e-9)
    assert made.val_loss == pytest.approx(json.loads((whole / "result.json").read_text())["val_loss"], rel=1e-5)


def test_continuing_from_a_headless_model_makes_a_head(data: Path, tmp_path: Path):
    encoder = presets.from_pattern("1{sf}", dim=32, head_dim=16, vocab=Shards.open(data).vocab_size, max_len=16)
    save_model(fresh(ModelConfig(encoder=encoder), 0), tmp_path / "bare")
    pretrain(recipe(steps=1), data=data, out=tmp_path / "run", init_from=tmp_path / "bare", **HERE)
    assert load_model(tmp_path / "run").config.encoder == encoder


def test_continuing_with_another_vocabulary_is_an_error(data: Path, whole: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = corpus(tmp_path / "other", seed=3, documents=5)
    with pytest.raises(InputError, match=r"--init-from .*: its \d+ tokens are not the \d+ of the prepared data"):
        pretrain(recipe(), data=other, out=tmp_path / "run", init_from=whole, **HERE)


@pytest.mark.parametrize(
    ("setting", "message"),
    [("model.encoder.dim=16", "--init-from"), ("model.encoder.embedding.vocab=7", r"embedding\.vocab: 7 tokens")],
)
def test_settings_that_the_source_decides(data: Path, whole: Path, tmp_path: Path, setting: str, message: str):
    with pytest.raises(InputError, match=message):
        pretrain(recipe(), data=data, out=tmp_path / "run", init_from=whole, settings=[setting], **HERE)


# compiled


def test_a_compiled_run_is_one_graph(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    """Over an epoch and more, with validation, accumulation and a padded last row."""
    counters = counted(monkeypatch, "eager")
    assert (Shards.open(data).rows([len(Shards.open(data)) - 1]) == 0).any()
    plain = recipe(layers="1{sf}", steps=12, accumulate=2, evaluate_every=4)
    pretrain(plain, data=data, out=tmp_path / "run", settings=["train.compile=true"], device="cpu")
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    assert "the last row of the data is padded: left out" in capsys.readouterr().err


def test_a_compiled_run_in_bfloat16_with_dropout_is_one_graph(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    counters = counted(monkeypatch, "eager")
    settings = ("train.compile=true", "train.precision=bfloat16")
    pretrain(recipe(steps=3, dropout=0.1, layers="1{sf}:1{sf}"), data=data, out=tmp_path, settings=settings, **HERE)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor's own imports
@pytest.mark.skipif(compile_problem("cpu") is not None, reason="torch.compile needs a C++ compiler")
def test_compiled_equals_eager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With inductor's own code. 1e-4: fused sums in another order, grown over the updates."""
    data = corpus(tmp_path, documents=4, validation=0.0)
    shards = Shards.open(data)
    assert len(shards) > 1
    counters = counted(monkeypatch, "inductor")
    monkeypatch.setattr(Feed, "__init__", whole_rows(Feed.__init__))
    for name, compiled in (("eager", "false"), ("compiled", "true")):
        settings = [f"train.compile={compiled}"]
        pretrain(
            recipe(layers="1{sf}", steps=4, batch_size=4), data=data, out=tmp_path / name, settings=settings, **HERE
        )
    assert counters["stats"]["unique_graphs"] == 1
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "eager"), rel=1e-4)


def whole_rows(real: Any) -> Any:
    """A Feed without the padded last row, as a compiled run has it."""

    def init(self: Feed, recipe: Any, shards: Shards, accelerator: Any) -> None:
        real(self, recipe, shards, accelerator)
        self.rows = len(shards) - 1

    return init


def test_a_silent_fall_back_to_eager_stops_the_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from slimbert.train.objectives import MaskedLm

    counted(monkeypatch, "eager")
    real = MaskedLm.loss

    def breaking(self: MaskedLm, encode: Any, batch: Any) -> Any:
        torch._dynamo.graph_break()
        return real(self, encode, batch)

    monkeypatch.setattr(MaskedLm, "loss", breaking)
    with pytest.raises(RunError, match=r"torch\.compile cannot make one graph.*set train\.compile to false"):
        pretrain(recipe(), data=data, out=tmp_path, settings=["train.compile=true"], **HERE)


@pytest.mark.gpu
def test_on_a_gpu(data: Path, tmp_path: Path):
    made = pretrain(recipe(steps=60, precision="auto"), data=data, out=tmp_path, device="cuda", quiet=True)
    first = losses(tmp_path)[0]
    assert made.loss < first
    again = pretrain(
        recipe(steps=60, precision="auto"), data=data, out=tmp_path, device="cuda", resume=True, quiet=True
    )
    assert again == made
