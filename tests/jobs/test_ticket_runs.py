"""Tickets inside runs: searched, drawn and trained in one folder, which goes on after a kill at any moment."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jobs.small import child, differences, encoder_in, losses, recipe, replaced, rows, steps_saved, together
from jobs.test_pretrain import counted
from slimbert.data.shards import Shards
from slimbert.data.tasks import load_task
from slimbert.errors import InputError, Interrupted, RunError
from slimbert.jobs import finetune as finetuning
from slimbert.jobs import pretrain as pretraining
from slimbert.jobs.feed import Feed
from slimbert.jobs.finetune import finetune
from slimbert.jobs.predict import load
from slimbert.jobs.pretrain import pretrain
from slimbert.jobs.resolve import resolve
from slimbert.jobs.settings import Settings
from slimbert.jobs.source import open_encoder
from slimbert.jobs.tickets import draw as drawing
from slimbert.jobs.tickets import finetuning as of_finetuning
from slimbert.jobs.tickets import picture
from slimbert.jobs.tickets import pretraining as of_pretraining
from slimbert.jobs.tickets.apply import apply
from slimbert.jobs.tickets.file import architecture, read_ticket
from slimbert.jobs.tickets.find import find
from slimbert.jobs.tickets.recipe import ticket_recipe
from slimbert.methods.gated import Gated
from slimbert.methods.units import counts, masks
from slimbert.model import load_model
from slimbert.model.encoder import EncoderConfig
from slimbert.subnet import Plan
from slimbert.train import checkpoints
from slimbert.train.loop import Start
from slimbert.train.run import RunFolder
from slimbert.train.signals import Stop

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
HERE: dict[str, Any] = {"device": "cpu", "quiet": True}
QUICK = ("min_updates=14", "epochs=1", "evaluations=4", "batch_size=16", "patience=99")
DRAW = {"heads": {"cut": 0.4}, "neurons": {"cut": 0.4, "multiple": 8}}
DETECTOR = {"fixed": 0.6, "least": 0, "every": 2, "spacing": 0}  # of 10 updates an epoch: drawn after 6


def ticket(start: str = "rewind", **sections: Any) -> dict[str, Any]:
    """A toy recipe: drawn after 6 updates of fine-tuning."""
    search = {"checkpoint_every": 2, "lr": 10.0}
    plain = {"search": search, "detector": DETECTOR, "draw": DRAW, "train": {"start": start}}
    return {"ticket": {name: {**value, **sections.get(name, {})} for name, value in plain.items()}}


def tuned(encoder: Path, reviews: Path, out: Path, early: Any, *settings: str, **options: Any) -> Any:
    asked = {"settings": (*QUICK, *settings), "with_baselines": False, **HERE, **options}
    return finetune(encoder, reviews, out=out, ticket=early, **asked)


@pytest.fixture(scope="module", params=["rewind", "continue"])
def whole(request: Any, encoder: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(how it starts, the folder) of a run that nobody interrupted."""
    out = tmp_path_factory.mktemp(f"whole-{request.param}") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "plot", lambda self: None)
        tuned(encoder, reviews, out, ticket(request.param))
    return request.param, out


def same(run: Path, other: Path) -> list[Any]:
    """Where two runs with a ticket differ: rows, weights, units, distances."""
    found = differences(run, other)
    for name in ("search/metrics.jsonl", "distances.json"):
        texts = [one / name for one in (run, other)]
        if name.endswith(".jsonl"):
            read = [rows(path.parent) for path in texts]
        else:
            read = [json.loads(path.read_text()) for path in texts]
        found += [name] if read[0] != read[1] else []
    return found + ["ticket"] * (read_ticket(run).subnet != read_ticket(other).subnet)


# what comes out


def test_ticket_run_is_that_of_a_smaller_model(whole: tuple[str, Path], encoder: Path):
    start, run = whole
    drawn, dense, small = read_ticket(run), load_model(encoder), load_model(run)
    assert (drawn.by, drawn.why, drawn.updates) == ("coefficient", "fixed", 6)
    assert drawn.source == architecture(dense.config.encoder)
    sizes = counts(dense.config.encoder, drawn.subnet)
    assert {key: after for key, (after, _) in sizes.items()} == {
        key: axis.units for key, axis in Plan(small.encoder).axes.items()
    }
    assert [sizes[f"layers.{i}.0.head"] for i in range(2)] == [(1, 2), (1, 2)]
    assert sum(sizes[f"layers.{i}.1.hidden"][0] for i in range(2)) == (2 * 256 - 205) // 8 * 8
    for name in ("distances.json", "distances.png", "search/metrics.jsonl", "README.md", "report.md"):
        assert (run / name).stat().st_size > 0, name
    steps = [row["step"] for row in rows(run) if "loss" in row]
    assert steps == list(range(1 if start == "rewind" else 7, 15))
    assert [row["step"] for row in rows(run / "search")] == [1, 2, 3, 4, 5, 6]
    assert steps_saved(run / "search") == ([] if start == "rewind" else [6])
    result = json.loads((run / "result.json").read_text())
    assert result["seconds"] > drawn.seconds > 0
    distances = json.loads((run / "distances.json").read_text())
    assert distances["updates"] == [2, 4, 6]
    assert distances["heads"]["distances"][0][0] == 0
    assert load(run, device="cpu").predict(["bama ba"])[0].label in ("negative", "positive")


def test_ticket_run_is_read_by_transformers(whole: tuple[str, Path]):
    from transformers import AutoModelForSequenceClassification

    import slimbert.hf  # noqa: F401

    _, run = whole
    theirs, ours = AutoModelForSequenceClassification.from_pretrained(run), load_model(run)
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids), rtol=1e-5, atol=1e-5)


def begun(encoder: Path, reviews: Path, folder: Path, *settings: str) -> finetuning.Run:
    """A run before its first update."""
    from slimbert.config import load as load_config
    from slimbert.config import override

    asked = load_config(Settings, override({}, [*QUICK, *settings], "--set"), "--set")
    model, tokenizer, _ = open_encoder(encoder)
    return finetuning.Run(model, tokenizer, load_task(reviews), asked, RunFolder(folder), **HERE)


def test_ticket_that_rewinds_begins_with_the_first_weights(encoder: Path, reviews: Path, tmp_path: Path):
    """Bit by bit, head included; no coefficients, nothing in the optimiser, step 0."""
    run = begun(encoder, reviews, tmp_path / "run")
    first = {name: value.clone() for name, value in run.whole.state_dict().items()}
    plan = Plan(run.whole.encoder, prefix="encoder.")
    early, _ = ticket_recipe(ticket(), (), tmp_path / "new")
    assert early is not None
    of_finetuning.with_ticket(run, early, Stop())
    wanted = plan.cut(first, read_ticket(tmp_path / "run").subnet)
    assert run.whole.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in run.whole.state_dict().items())
    assert not run.optimizer.state
    assert (run.begin.step, run.begin.tokens > 0, run.begin.seconds > 0) == (0, True, True)
    assert run.updates == 14


def test_ticket_that_continues_begins_with_the_weights_and_moments_of_the_search(
    encoder: Path, reviews: Path, tmp_path: Path
):
    run = begun(encoder, reviews, tmp_path / "run")
    small = of_finetuning.dense(run).objective.model
    plan = Plan(small.encoder, prefix="model.encoder.")
    early, _ = ticket_recipe(ticket("continue"), (), tmp_path / "new")
    assert early is not None
    of_finetuning.with_ticket(run, early, Stop())
    found = checkpoints.newest(tmp_path / "run" / "search" / "checkpoints")
    assert found is not None
    assert run.begin.step == found.step == 6
    subnet = read_ticket(tmp_path / "run").subnet
    for key in ("exp_avg", "exp_avg_sq"):
        head = f"optimizer.{key}."
        before = {n.removeprefix(head): v for n, v in found.tensors.items() if n.startswith(head) and "gates" not in n}
        wanted = plan.cut(before, subnet)
        for name, parameter in run.objective.named_parameters():
            if run.optimizer.state[parameter]:
                assert torch.equal(run.optimizer.state[parameter][key], wanted[name]), name
    name = "encoder.layers.0.1.mixer.up.weight"  # not a sink: as it was
    kept = plan.cut({f"model.{name}": found.tensors[f"objective.model.{name}"]}, subnet)
    assert torch.equal(run.objective.model.state_dict()[name], kept[f"model.{name}"])


@pytest.mark.parametrize("start", ["rewind", "continue"])
def test_ticket_sees_the_batches_of_its_run(
    encoder: Path, reviews: Path, tmp_path: Path, start: str, monkeypatch: pytest.MonkeyPatch
):
    """By `rewind` they begin anew, by `continue` they go on: none is left out, none comes twice."""
    plain, seen = begun(encoder, reviews, tmp_path / "plain").batches(0), []
    wanted = [next(plain)["input_ids"] for _ in range(14)]
    real = finetuning.Run.batches

    def noted(self: finetuning.Run, first: int) -> Any:
        for batch in real(self, first):
            seen.append(batch["input_ids"])
            yield batch

    monkeypatch.setattr(finetuning.Run, "batches", noted)
    monkeypatch.setattr(picture, "write_distances", lambda *_: None)  # drawing takes longer than the run
    tuned(encoder, reviews, tmp_path / "run", ticket(start))
    order = [*range(6), *range(0 if start == "rewind" else 6, 14)]
    assert len(seen) == len(order)
    assert all(torch.equal(one, wanted[n]) for one, n in zip(seen, order, strict=True))


def test_ticket_share_and_rate_of_its_training(encoder: Path, reviews: Path, tmp_path: Path):
    run = begun(encoder, reviews, tmp_path / "run")
    before, often = run.optim.lr, run.every
    early, _ = ticket_recipe(ticket(train={"share": 0.5, "lr": 2.0}), (), tmp_path / "new")
    assert early is not None
    of_finetuning.with_ticket(run, early, Stop())
    assert (run.updates, run.optim.lr) == (7, 2 * before)
    assert run.every < often  # as many validations as before
    assert run.begin.seconds > read_ticket(tmp_path / "run").seconds  # the smaller model has taken time
    late, _ = ticket_recipe(ticket("continue", train={"share": 0.4}), (), tmp_path / "new")
    assert late is not None
    with pytest.raises(InputError, match="the search may take 6 updates, the run has 6"):
        of_finetuning.with_ticket(begun(encoder, reviews, tmp_path / "late"), late, Stop())
    none, _ = ticket_recipe(ticket(train={"share": 0.01}), (), tmp_path / "new")
    assert none is not None
    with pytest.raises(RunError, match="no update is left to train the ticket with"):
        of_finetuning.with_ticket(begun(encoder, reviews, tmp_path / "none"), none, Stop())


def test_ticket_of_a_seed_is_one_ticket(encoder: Path, reviews: Path, tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tuned(encoder, reviews, tmp_path / name, ticket(), seed=seed)
    assert same(tmp_path / "a", tmp_path / "b") == []
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


# kills


def seen(path: Path) -> int:
    """The last step of a metrics.jsonl that is being written."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return max((json.loads(line)["step"] for line in lines), default=0)


def test_ticket_run_that_is_killed_goes_on(whole: tuple[str, Path], encoder: Path, reviews: Path, tmp_path: Path):
    """SIGKILL in the search, and in the training of the ticket."""
    start, wanted = whole
    run = tmp_path / "run"
    options = {"encoder": str(encoder), "data": str(reviews), "settings": QUICK, "with_baselines": False}
    for place, step in (("search/metrics.jsonl", 3), ("search/metrics.jsonl", 5), ("metrics.jsonl", 9)):
        process = child("finetune", **options, ticket=ticket(start), out=str(run), resume=True)
        until = time.monotonic() + 120
        while seen(run / place) < step and process.is_alive():
            assert time.monotonic() < until
            time.sleep(0.005)
        process.kill()
        process.join()
        assert process.exitcode in (-signal.SIGKILL, 0)
    tuned(encoder, reviews, run, ticket(start), resume=True)
    assert same(run, wanted) == []


MOMENTS = {
    "in the search, before its first checkpoint": ("append", 1),
    "in the search": ("append", 5),
    "with the ticket drawn, before it is written": ("write_ticket", 1),
    "with the ticket written": ("fitting", 1),
    "before its weights are taken over": ("go_on", 1),
    "in the first update of the ticket": ("append", 7),
    "in the last": ("append", 14),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ticket_run_that_stops_at_any_moment_goes_on(
    whole: tuple[str, Path],
    encoder: Path,
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
):
    start, wanted = whole
    name, number = MOMENTS[moment]
    holder: Any = RunFolder if name == "append" else of_finetuning if name == "go_on" else drawing
    real, calls = getattr(holder, name), []

    def stops(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == number:
            raise OSError("as if killed")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(holder, name, stops)
        with pytest.raises(OSError, match="as if killed"):
            tuned(encoder, reviews, tmp_path / "run", ticket(start))
    tuned(encoder, reviews, tmp_path / "run", ticket(start), resume=True)
    assert same(tmp_path / "run", wanted) == []


def test_ticket_drawn_but_not_written_is_drawn_again_alike(
    encoder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By `continue` the last checkpoint of the search is that of the draw: nothing may be trained after it."""
    tuned(encoder, reviews, tmp_path / "whole", ticket("continue"))
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    for path in ("ticket.json", "distances.json", "distances.png", "metrics.jsonl"):
        (tmp_path / "run" / path).unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    tuned(encoder, reviews, tmp_path / "run", ticket("continue"), resume=True)
    assert same(tmp_path / "run", tmp_path / "whole") == []


def test_ticket_search_heeds_signals(
    whole: tuple[str, Path], encoder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    start, wanted = whole
    real = RunFolder.append

    def append(self: RunFolder, row: dict[str, Any]) -> None:
        real(self, row)
        if row["step"] == 3 and self.path.name == "search":
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", append)
        with pytest.raises(Interrupted, match="SIGTERM: stopped after step 3 of the search; go on with --resume"):
            tuned(encoder, reviews, tmp_path / "run", ticket(start))
    assert steps_saved(tmp_path / "run" / "search") == [3]
    tuned(encoder, reviews, tmp_path / "run", ticket(start), resume=True)
    assert same(tmp_path / "run", wanted) == []


def test_ticket_run_that_is_done_is_left_as_it_is(
    whole: tuple[str, Path], encoder: Path, reviews: Path, tmp_path: Path
):
    start, wanted = whole
    shutil.copytree(wanted, tmp_path / "run")
    again = tuned(encoder, reviews, tmp_path / "run", ticket(start), resume=True)
    assert again.updates == 14
    assert same(tmp_path / "run", wanted) == []


def test_ticket_run_with_another_recipe_or_without_is_refused(
    whole: tuple[str, Path], encoder: Path, reviews: Path, tmp_path: Path
):
    start, wanted = whole
    shutil.copytree(wanted, tmp_path / "run")
    with pytest.raises(InputError, match=r"ticket\.json: drawn with another encoder, data or recipe"):
        tuned(encoder, reviews, tmp_path / "run", ticket(start, detector={"fixed": 0.5}), resume=True)
    with pytest.raises(InputError, match=r"ticket\.json: drawn with another"):
        tuned(encoder, reviews, tmp_path / "run", ticket(start), "lr=1e-3", resume=True)
    with pytest.raises(InputError, match="a run with a ticket; go on with the --ticket it began with"):
        tuned(encoder, reviews, tmp_path / "run", None, resume=True)
    (tmp_path / "run" / "ticket.json").unlink()
    with pytest.raises(InputError, match="a run without a ticket; leave --ticket out"):
        tuned(encoder, reviews, tmp_path / "run", ticket(start), resume=True)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    if start == "continue":
        with pytest.raises(InputError, match="made with another encoder, data or recipe"):
            tuned(encoder, reviews, tmp_path / "run", ticket(start, draw={"seed": 1}), resume=True)


# controls


@pytest.mark.parametrize("by", ["random", "magnitude"])
def test_ticket_controls_need_no_search(encoder: Path, reviews: Path, tmp_path: Path, by: str):
    made = tuned(encoder, reviews, tmp_path / "run", ticket("continue"), f"ticket.draw.by={by}")
    drawn = read_ticket(tmp_path / "run")
    assert (drawn.by, drawn.why, drawn.updates, drawn.seconds) == (by, "no search", 0, 0.0)
    assert not (tmp_path / "run" / "search").exists()
    assert [row["step"] for row in rows(tmp_path / "run") if "loss" in row] == list(range(1, 15))
    assert made.updates == 14
    tuned(encoder, reviews, tmp_path / "run", ticket("continue"), f"ticket.draw.by={by}", resume=True)
    assert read_ticket(tmp_path / "run").subnet == drawn.subnet


def test_ticket_control_of_equal_layers(encoder: Path, reviews: Path, tmp_path: Path):
    settings = ("ticket.draw.by=random", "ticket.draw.neurons.per=layer", "ticket.draw.seed=3")
    tuned(encoder, reviews, tmp_path / "run", ticket(), *settings)
    layers = load_model(tmp_path / "run").config.encoder.layers
    assert layers[0] == layers[1]
    assert layers[0].mix[1].hidden == (256 - 102) // 8 * 8


def test_ticket_of_one_budget(encoder: Path, reviews: Path, tmp_path: Path):
    made = find(
        encoder, reviews, out=tmp_path / "run", ticket=ticket(), settings=(*QUICK, "ticket.draw.budget=0.5"), **HERE
    )
    applied = apply(encoder, made.ticket, out=tmp_path / "small")
    assert 0.4 < applied.macs[0] / applied.macs[1] <= 0.5


# pretraining


def pretrained(data: Path, out: Path, early: Any, *settings: str, **options: Any) -> Any:
    plain = options.pop("recipe", recipe(steps=12, evaluate_every=4, checkpoint_every=3))
    return pretrain(plain, data=data, out=out, ticket=early, settings=settings, **HERE, **options)


@pytest.mark.parametrize("start", ["rewind", "continue"])
def test_ticket_in_pretraining(data: Path, tmp_path: Path, start: str, monkeypatch: pytest.MonkeyPatch):
    """Drawn at 0.4 of 12 steps; killed in the search and after it, the run is the same."""
    early = ticket(start, detector={"fixed": 0.4})
    made = pretrained(data, tmp_path / "whole", early)
    assert read_ticket(tmp_path / "whole").updates == 5
    assert made.steps == 12
    assert [row["step"] for row in rows(tmp_path / "whole") if "loss" in row] == list(
        range(1 if start == "rewind" else 6, 13)
    )
    tokens = 8 * 16
    assert made.tokens == (17 if start == "rewind" else 12) * tokens
    small = load_model(tmp_path / "whole")
    assert [layer.mix[0].heads for layer in small.config.encoder.layers] == [1, 1]
    real = RunFolder.append
    for number in (4, 11):
        calls: list[int] = []

        def append(self: RunFolder, row: dict[str, Any], calls: list[int] = calls, number: int = number) -> None:
            calls.append(1)
            if len(calls) == number:
                raise OSError("as if killed")
            real(self, row)

        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "append", append)
            with pytest.raises(OSError, match="as if killed"):
                pretrained(data, tmp_path / "run", early, resume=True)
    pretrained(data, tmp_path / "run", early, resume=True)
    assert same(tmp_path / "run", tmp_path / "whole") == []


@pytest.mark.parametrize("start", ["rewind", "continue"])
def test_ticket_beside_a_generator(data: Path, tmp_path: Path, start: str):
    """To detect replaced tokens: the model is cut, the generator trains along whole, in the search too."""
    early = ticket(start, detector={"fixed": 0.4})
    plain = recipe(steps=12, objective=replaced())
    pretrained(data, tmp_path / "run", early, recipe=plain)
    pretrained(data, tmp_path / "dense", None, recipe=recipe(steps=1, objective=replaced()))
    small, dense = (load_model(tmp_path / name / "generator") for name in ("run", "dense"))
    assert small.config == dense.config
    assert [layer.mix[0].heads for layer in load_model(tmp_path / "run").config.encoder.layers] == [1, 1]
    assert not torch.equal(small.encoder.layers[0][0].norm.weight, dense.encoder.layers[0][0].norm.weight)


@pytest.mark.parametrize("start", ["rewind", "continue"])
def test_ticket_in_pretraining_sees_the_batches_of_its_run(
    data: Path, tmp_path: Path, start: str, monkeypatch: pytest.MonkeyPatch
):
    seen: list[Any] = []
    real = Feed.training

    def noted(self: Feed, first: int) -> Any:
        for batch in real(self, first):
            seen.append(batch["input_ids"])
            yield batch

    monkeypatch.setattr(Feed, "training", noted)
    monkeypatch.setattr(picture, "write_distances", lambda *_: None)
    pretrained(data, tmp_path / "dense", None)
    wanted = seen.copy()
    seen.clear()
    pretrained(data, tmp_path / "run", ticket(start, detector={"fixed": 0.4}))
    order = [*range(5), *range(0 if start == "rewind" else 5, 12)]
    assert (len(wanted), len(seen)) == (12, len(order))
    assert all(torch.equal(one, wanted[n]) for one, n in zip(seen, order, strict=True))


def test_ticket_in_pretraining_rewinds_to_the_first_weights(data: Path, tmp_path: Path):
    shards = Shards.open(data)
    chosen = resolve(recipe(steps=12), shards)
    run = pretraining.Run(chosen, shards, RunFolder(tmp_path / "run"), source=None, **HERE)
    first = {name: value.clone() for name, value in run.objective.model.state_dict().items()}
    plan = Plan(run.objective.model.encoder, prefix="encoder.")
    early, _ = ticket_recipe(ticket(detector={"fixed": 0.4}), (), tmp_path / "new")
    assert early is not None
    of_pretraining.with_ticket(run, early, Stop())
    wanted = plan.cut(first, read_ticket(tmp_path / "run").subnet)
    assert all(torch.equal(value, wanted[name]) for name, value in run.objective.model.state_dict().items())
    assert (run.begin.step, run.steps, run.recipe.model) == (0, 12, run.objective.model.config)


@pytest.mark.parametrize("start", ["rewind", "continue"])
def test_ticket_in_pretraining_counts_what_lies_between_search_and_training(
    data: Path, tmp_path: Path, start: str, monkeypatch: pytest.MonkeyPatch
):
    """As in fine-tuning: drawing and cutting are no free seconds. A run that goes on knows of its search alone."""
    shards, early = Shards.open(data), ticket_recipe(ticket(start, detector={"fixed": 0.4}), (), tmp_path / "new")[0]
    real = of_pretraining.extract

    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(of_pretraining, "extract", slow)
    assert early is not None
    for again in (False, True):
        folder = RunFolder(tmp_path / "run")
        run = pretraining.Run(resolve(recipe(steps=12), shards), shards, folder, source=None, **HERE)
        of_pretraining.with_ticket(run, early, Stop())
        spent = read_ticket(tmp_path / "run").seconds
        assert run.begin.seconds == spent if again else run.begin.seconds > spent + 0.2
        assert run.ahead == (run.begin.seconds if start == "rewind" else 0.0)


@pytest.mark.usefixtures("clock")
def test_ticket_search_counts_in_a_budget_of_time(data: Path, tmp_path: Path):
    """Half of two seconds goes to the search."""
    early = ticket(detector={"fixed": 0.5})
    made = pretrained(data, tmp_path / "run", early, recipe=recipe(time="2s"))
    assert 1.0 <= read_ticket(tmp_path / "run").seconds < 1.1
    assert 1.9 < made.seconds < 2.1
    first = next(row for row in rows(tmp_path / "run") if "loss" in row)
    assert first["step"] == 1
    assert first["lr"] < 3e-3  # its schedule starts anew


def test_ticket_pretrained_is_finetuned_and_continued(data: Path, reviews: Path, tmp_path: Path):
    early = ticket(detector={"fixed": 0.4})
    pretrained(data, tmp_path / "lm", early)
    made = finetune(tmp_path / "lm", reviews, out=tmp_path / "run", settings=QUICK, with_baselines=False, **HERE)
    config = load_model(made.run).config.encoder
    assert config.layers[0].mix[0].heads == 1
    pretrained(data, tmp_path / "more", None, "train.steps=2", init_from=tmp_path / "lm")
    assert load_model(tmp_path / "more").config.encoder.layers == load_model(tmp_path / "lm").config.encoder.layers


def test_ticket_of_ragged_layers_is_one_graph(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ten layers of unequal widths: more than the recompile limit of a code object that they would share."""
    counters = counted(monkeypatch, "eager")
    compiles: list[nn.Module] = []
    real = nn.Module.compile

    def noted(self: nn.Module, **options: Any) -> None:
        compiles.append(self)
        real(self, **options)

    monkeypatch.setattr(nn.Module, "compile", noted)
    early = ticket(detector={"fixed": 0.5}, draw={"neurons": {"cut": 0.5, "multiple": 1}})
    plain = recipe(layers="10{sf}", steps=6, evaluate_every=3)
    pretrained(data, tmp_path / "run", early, "train.compile=true", recipe=plain)
    widths = [layer.mix[1].hidden for layer in load_model(tmp_path / "run").config.encoder.layers]
    assert len(set(widths)) > 3
    assert not any(isinstance(one, Gated) for one in compiles)  # the search runs eagerly
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


def test_ticket_of_two_processes_is_that_of_one(data: Path, tmp_path: Path):
    """The penalty and the draw are the same for any number of ranks; losses in another order of sums, 1e-4."""
    early = ticket(detector={"fixed": 0.4})
    plain = recipe(steps=8, evaluate_every=8)
    codes = together(2, recipe=plain, ticket=early, data=str(data), out=str(tmp_path / "two"))
    assert codes == [0, 0]
    pretrained(data, tmp_path / "one", early, recipe=plain)
    one, two = (rows(tmp_path / name / "search") for name in ("one", "two"))
    assert [row["penalty"] for row in two] == pytest.approx([row["penalty"] for row in one], rel=1e-5)
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-4)
    drawn = [masks(dense(data), read_ticket(tmp_path / name).subnet) for name in ("one", "two")]
    assert torch.equal(drawn[0]["heads"], drawn[1]["heads"])
    assert (drawn[0]["neurons"] != drawn[1]["neurons"]).float().mean() < 0.05  # of equal scores, rounding decides


def dense(data: Path) -> EncoderConfig:
    encoder: EncoderConfig = resolve(recipe(), Shards.open(data)).model.encoder
    return encoder


# found once, applied


def test_ticket_is_found_and_applied(encoder: Path, reviews: Path, data: Path, tmp_path: Path):
    made = find(encoder, reviews, out=tmp_path / "found", ticket=ticket(), settings=QUICK, **HERE)
    assert (made.why, made.updates) == ("fixed", 6)
    assert not (tmp_path / "found" / "model.safetensors").exists()
    whole = tuned(encoder, reviews, tmp_path / "run", ticket())
    assert read_ticket(made.ticket).subnet == read_ticket(whole.run).subnet
    applied = apply(encoder, tmp_path / "found", out=tmp_path / "small")
    assert applied.parameters[0] < applied.parameters[1]
    assert applied.units == made.units
    widths = [
        [step.mix[1].hidden for step in load_model(one).config.encoder.layers] for one in (applied.folder, whole.run)
    ]
    assert widths[0] == widths[1]
    again = finetune(tmp_path / "small", reviews, out=tmp_path / "b", settings=QUICK, with_baselines=False, **HERE)
    assert again.updates == 14
    with pytest.raises(InputError, match="drawn from another architecture than this one of 2 layers and width 64"):
        apply(tmp_path / "small", tmp_path / "found", out=tmp_path / "twice")
    other = encoder_in(tmp_path / "other", data, "1{sf}")
    with pytest.raises(InputError, match="drawn from another architecture"):
        apply(other, made.ticket, out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_ticket_of_pretraining_is_found_and_applied(data: Path, tmp_path: Path):
    import yaml

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(steps=12)))
    early = ticket(detector={"fixed": 0.4})
    made = find(tmp_path / "recipe.yaml", data, out=tmp_path / "found", ticket=early, seed=3, **HERE)
    assert made.updates == 5
    pretrained(data, tmp_path / "lm", None, recipe=recipe(steps=1))
    applied = apply(tmp_path / "lm", made.ticket, out=tmp_path / "small")
    assert load_model(tmp_path / "small").config.head == load_model(tmp_path / "lm").config.head
    assert applied.units == made.units


def test_ticket_files_that_are_none(tmp_path: Path, encoder: Path):
    (tmp_path / "no.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "old.json").write_text('{"subnet": {}, "format": 99}')
    (tmp_path / "half.json").write_text('{"subnet": {"layers.0.0.head": ["x"]}, "format": 1}')
    for name, message in (
        ("no.json", "not a ticket"),
        ("broken.json", "not readable as JSON"),
        ("old.json", "format 99, this version reads 1"),
        ("half.json", "not a whole ticket"),
        ("nothing.json", "no ticket here"),
        ("", r"no ticket here \(ticket\.json is missing\)"),
    ):
        with pytest.raises(InputError, match=message):
            apply(encoder, tmp_path / name, out=tmp_path / "out")


def test_ticket_starts_count_what_the_search_spent():
    early, _ = ticket_recipe(ticket("continue"), (), Path("new"))
    assert early is not None
    drawn = read_like(updates=7, tokens=70, seconds=3.5)
    assert drawing.beginning(early, drawn) == Start(7, 70, 3.5)
    early, _ = ticket_recipe(ticket(), (), Path("new"))
    assert early is not None
    assert drawing.beginning(early, drawn) == Start(0, 70, 3.5)


def read_like(**values: Any) -> Any:
    from slimbert.jobs.tickets.file import Ticket
    from slimbert.subnet import Subnet

    return Ticket(Subnet(), "", "coefficient", "fixed", recipe={}, run="", **values)
