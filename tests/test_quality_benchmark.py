"""Quality for time goes on stage by stage: what it keeps, what it asks for, where it stops. Hardly anything is trained,
and nothing measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jobs.small import corpus
from quality_toys import begin, results, script, shrink, timed
from slimbert.data.shards import Shards
from slimbert.errors import RunError
from slimbert.train.signals import Stop

FEW = ["--arms", "BERT", "BERT of 3 layers", "narrow 1"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begin(monkeypatch, tmp_path)


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return shrink(monkeypatch)


@pytest.fixture
def words(quality: ModuleType, tmp_path: Path) -> list[str]:
    """What every start is told; the speeds stand in the record already."""
    timed()
    given = ["--minutes", "0.003", "--long-minutes", "0.006", "--width-minutes", "0.003", "0.003"]
    return ["--work", str(tmp_path / "work"), "--data", str(corpus(tmp_path)), "--name", "zz", *given]


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Nothing is trained: every loss is 5. What was asked for: (folder, updates) of runs, and (folder, 0) of scores."""
    asked: list[tuple[str, int]] = []

    def run(arm: Any, shape: Any, folder: Path, out: Path, *, updates: int, **about: Any) -> dict[str, Any]:
        asked.append((out.name, updates))
        shards, tokens = Shards.open(folder), 128 * updates
        macs = arm.multiply_adds(shape, vocab=shards.vocab_size, length=shards.seq_len)
        found = {"pattern": arm.pattern, "detects": arm.detects, "dim": shape.dim, "val_loss": 5.0, "tokens": tokens}
        found |= {"curve": [[tokens / 2, 6.0], [tokens, 5.0]], "multiply_adds": macs, "row": 16, "updates": updates}
        return found | {"lr": about["lr"], "seed": about["seed"], "folder": out.name}

    def score(run: Path, task: str, *, device: str) -> dict[str, Any]:
        asked.append((run.name, 0))
        return {"task": task, "score": 0.5, "low": 0.4, "high": 0.6}

    monkeypatch.setattr(script("quality_study"), "pretrained", run)
    monkeypatch.setattr(script("quality_study"), "finetuned", score)
    return asked


def test_quality_for_time_goes_on_stage_by_stage(
    quality: ModuleType,
    words: list[str],
    untrained: list[tuple[str, int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
):
    quality.main(["screening", *words, *FEW])
    begun = {"settings", "unigram_entropy", "minutes", "speeds"}
    screened = {f"0.003 min, {arm} 0" for arm in FEW[1:]}
    assert set(results(tmp_path)) == begun | screened
    readme = tmp_path / "records" / "zz" / "README.md"
    assert "| context first | `2{sf},4{s}:4{f}` | not measured |" in readme.read_text()
    words = words[: words.index("--minutes")]  # the record has the minutes
    quality.main(["long", "replaced", "widths", "seeds", *words, *FEW])
    found = results(tmp_path)
    detects = {f"{given} min, ConvBERT finding replaced tokens 0" for given in ("0.0015", "0.003")}
    wide = {
        f"width {dim}, 0.003 min, {family}{end}"
        for dim in (32, 48)
        for family in ("BERT", "GroupBERT")
        for end in ("", ", rate 0.001")
    }
    longer = {f"0.006 min, {label} 0" for label in ("BERT", "narrow 1")}
    assert set(found) == begun | screened | longer | detects | wide | {f"0.003 min, {arm} 1" for arm in FEW[1:]}
    updates = {key: found[key]["updates"] for key in found if " min, " in key}
    assert updates["0.003 min, BERT 0"] == 6 and updates["0.003 min, narrow 1 1"] == 12  # minutes over SECONDS
    assert updates["0.006 min, narrow 1 0"] == 24 and updates["0.0015 min, ConvBERT finding replaced tokens 0"] == 2
    assert updates["width 48, 0.003 min, BERT"] == 3 and updates["width 32, 0.003 min, BERT, rate 0.001"] == 2
    bert, group = (found[f"width 32, 0.003 min, {family}"] for family in ("BERT", "GroupBERT"))
    one = 3 * group["multiply_adds"] * 8 / 1e6  # of an update
    spent = script("quality_arms").spent
    assert spent(group) == pytest.approx(spent(bert), abs=0.51 * one)
    curve = script("quality_record").runs("zz")["0.003 min, narrow 1 0"].curve
    assert curve[:, 0] == pytest.approx([0.0015, 0.003])
    quality.main(["finetune", *words, "--arms", "narrow 1", "--tasks", "SST-2"])
    assert set(results(tmp_path)) == {*found, *(f"SST-2: {given} min, narrow 1 0" for given in ("0.003", "0.006"))}
    capsys.readouterr()
    untrained.clear()
    quality.main(["speeds", "screening", "long", "replaced", "widths", "seeds", *words, *FEW])
    assert not untrained and capsys.readouterr().out == ""


def test_questions_are_a_stage_that_is_named(
    quality: ModuleType,
    words: list[str],
    untrained: list[tuple[str, int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
):
    with pytest.raises(SystemExit):
        quality.main(["questions", *words])
    assert "BERT is not screened, or does not count: begin with `screening`" in capsys.readouterr().err
    quality.main(words)
    readme = tmp_path / "records" / "zz" / "README.md"
    assert not any(key.startswith("SQuAD: ") for key in results(tmp_path))
    assert "Questions (SQuAD): not measured; `quality.py questions`" in readme.read_text()
    untrained.clear()
    quality.main(["questions", *words])
    assert len(untrained) == 3
    asked = {key for key in results(tmp_path) if key.startswith("SQuAD: ")}
    assert asked == {f"SQuAD: 0.003 min, {label} 0" for label in ("BERT", "narrow 1", "narrow 2")}
    assert "Questions" not in readme.read_text()


def test_everything_stops_where_the_pilot_does_not_count(
    quality: ModuleType,
    words: list[str],
    untrained: list[tuple[str, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.setattr(script("quality_record"), "ENOUGH", 100.0)
    with pytest.raises(SystemExit) as raised:
        quality.main(["screening", *words, *FEW])
    assert raised.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("0.003 min, BERT 0: its loss is ") and "give --minutes 0.006 --long-minutes 0.012" in said
    assert [key for key in results(tmp_path) if " min, " in key] == ["0.003 min, BERT 0"]
    for stage in ("long", "seeds"):
        with pytest.raises(SystemExit):
            quality.main([stage, *words, *FEW])
        assert "nothing that counts is screened" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        quality.main(["widths", *words])
    assert "give --width-minutes with more than 0.003 for this width" in capsys.readouterr().err
    assert {key for key in results(tmp_path) if key.startswith("width")} == {
        "width 32, 0.003 min, BERT",
        "width 32, 0.003 min, BERT, rate 0.001",
    }
    monkeypatch.setattr(script("quality_study"), "finetuned", lambda *_, **__: pytest.fail("it is fine-tuned"))
    quality.main(["finetune", *words])
    assert "not fine-tuned, its loss is too high to count" in capsys.readouterr().out
    monkeypatch.setattr(script("quality_record"), "ENOUGH", -100.0)
    quality.main(["pilot", *words[: words.index("--minutes")], "--minutes", "0.006"])
    assert results(tmp_path)["0.006 min, BERT 0"]["updates"] == 12  # by the speeds there are
    assert results(tmp_path)["minutes"]["screening"] == 0.006


def test_nothing_is_trained_before_the_speeds(
    quality: ModuleType, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
):
    words[words.index("zz")] = "yy"
    with pytest.raises(SystemExit):
        quality.main(["pilot", *words])
    assert "no speeds are measured: begin with `speeds`" in capsys.readouterr().err
    quality.main(["data", *words[: words.index("--name")], "--name", "xx"])
    assert not (tmp_path / "records" / "xx").exists()
    with pytest.raises(SystemExit):
        quality.main(["screening", *words, "--arms", "narrow 3"])
    assert "narrow 3: no such arm" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        quality.main(["sreening", *words])
    assert "sreening: no such stage" in capsys.readouterr().err


def test_a_run_that_is_stopped_goes_on_to_the_same_end(
    quality: ModuleType,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    class Fourth(Stop):
        """A signal comes in the fourth update."""

        asked = 0

        def __bool__(self) -> bool:
            self.asked += 1
            return self.asked >= 4

    @contextmanager
    def signals() -> Iterator[Stop]:
        yield Fourth()

    with monkeypatch.context() as stopped:
        stopped.setattr("slimbert.jobs.pretrain.stop_on_signal", signals)
        with pytest.raises(SystemExit) as raised:
            quality.main(["pilot", *words])
    assert raised.value.code == 130 and "at step 4; go on with --resume: start the same" in capsys.readouterr().err
    assert "0.003 min, BERT 0" not in results(tmp_path)
    quality.main(["pilot", *words])
    timed("whole")
    words[words.index("zz")] = "whole"
    quality.main(["pilot", *words])
    one, other = (results(tmp_path, name)["0.003 min, BERT 0"] for name in ("zz", "whole"))
    assert one == other and len(one["curve"]) == 3


@pytest.mark.parametrize(
    ("lowest", "tried"),
    [
        (1e-3, [5e-4, 1e-3, 2e-3]),
        (4e-3, [5e-4, 1e-3, 2e-3, 4e-3, 8e-3]),
        (2e-3, [5e-4, 1e-3, 2e-3, 4e-3]),
        (2.5e-4, [1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3]),
        (1.0, [5e-4, 1e-3, 2e-3, 4e-3, 8e-3]),
    ],
)
def test_rates_are_tried_until_the_best_lies_between_two(lowest: float, tried: list[float]):
    best_rate = script("quality_widths").best_rate
    found = best_rate(lambda rate: abs(rate - lowest))
    assert sorted(found) == pytest.approx(tried)


def test_a_rate_that_diverges_is_never_the_best(
    quality: ModuleType,
    words: list[str],
    untrained: list[tuple[str, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    study = script("quality_study")
    made = study.pretrained

    def diverging(*places: Any, lr: float, **about: Any) -> dict[str, Any]:
        if lr == 2e-3:
            raise RunError("step 3: the loss is nan")
        return made(*places, lr=lr, **about)

    monkeypatch.setattr(study, "pretrained", diverging)
    monkeypatch.setattr(script("quality_widths"), "RATES", (1e-3, 2e-3))
    quality.main(["widths", *words])
    found = results(tmp_path)
    assert found["width 32, 0.003 min, BERT, rate 0.002"] == {"part": "rates", "diverged": "step 3: the loss is nan"}
    run = found["width 32, 0.003 min, BERT"]
    assert run["lr"] == 1e-3 and run["rates"][1] == [2e-3, None]
    untrained.clear()
    quality.main(["widths", *words])
    assert not untrained and results(tmp_path) == found
