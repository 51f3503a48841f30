"""The arms of quality for time: what they cost, that they are trained and fine-tuned, how their speeds are measured."""

from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import benchmark_rows
from jobs.small import WORDS, corpus
from quality_toys import MACHINE, begin, results, script, shrink
from slimbert.data.shards import Shards


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begin(monkeypatch, tmp_path)


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return shrink(monkeypatch)


def test_arms_are_trained_and_fine_tuned(quality: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(benchmark_rows, "MADE", {name: benchmark_rows.MADE[name] for name in ("sst2", "squad")})
    monkeypatch.setenv("SLIMBERT_DATA", str(benchmark_rows.corpora(tmp_path / "corpora")))
    arms, data = script("quality_arms"), corpus(tmp_path)
    shape = arms.SHAPES["quality"]
    for label in ("narrow ConvBERT", "ConvBERT finding replaced tokens"):
        out = tmp_path / "work" / label
        found = arms.pretrained(arms.known(shape)[label], shape, data, out, updates=3, seed=1, lr=1e-3, device="cpu")
        assert found["updates"] == 3 and found["tokens"] == 3 * 128 and found["folder"] == label
        assert [tokens for tokens, _ in found["curve"]] == [256, 384] and found["curve"][-1][1] == found["val_loss"]
    for task in ("SST-2", "SQuAD"):
        score = script("quality_tasks").finetuned(tmp_path / "work" / "narrow ConvBERT", task, device="cpu")
        assert 0 <= score["score"] <= 1 and score["run"] == "narrow ConvBERT"
    assert not list((tmp_path / "work" / "finetuned").iterdir())  # the score is all that stays


def test_speeds_of_all_arms_are_measured_in_turn(
    quality: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    words = ["--work", str(tmp_path / "work"), "--data", str(corpus(tmp_path)), "--name", "zz"]
    quality.main(["speeds", *words])
    arms, speeds = script("quality_arms"), script("quality_speeds")
    found = results(tmp_path)["speeds"]
    assert list(found["updates"]) == list(arms.sized(arms.SHAPES["quality"], (32, 48)))
    assert {"BERT, width 48", "GroupBERT, width 48", "ConvBERT finding replaced tokens"} <= set(found["updates"])
    assert all(len(one["seconds"]) == 2 and speeds.seconds(found, label) > 0 for label, one in found["updates"].items())
    assert found["gemm_tflops"] == [0.1, 0.1] and found["tokens"] == 8 * 16 and found["price"] > 0
    assert "| BERT, width 48 |" in capsys.readouterr().out
    monkeypatch.setattr(quality, "measured", lambda *_, **__: pytest.fail("it measures again"))
    quality.main(["speeds", *words])
    monkeypatch.setattr(script("records"), "environment", lambda measure=False: MACHINE | {"threads": 2})
    with pytest.raises(SystemExit, match="was begun with threads 1"):
        quality.main(["speeds", *words])


def test_an_arm_is_as_fast_as_its_ratio_to_bert_says():
    speeds, drifting = script("quality_speeds"), {"BERT": [1.0, 2.0, 4.0], "narrow 1": [0.5, 0.9, 2.2]}
    with_medians = script("timing").with_medians
    found = {"updates": with_medians(drifting), "tokens": 1000, "gemm_tflops": [0.1, 0.12]}
    found["validations"] = with_medians({"narrow 1": [3.0]})
    assert speeds.seconds(found, "narrow 1") == pytest.approx(2.0 * 0.5)  # its own median is 0.9
    assert speeds.tokens_per_second(found, "narrow 1") == pytest.approx(1000)
    low, high = speeds.interval(found["updates"], "narrow 1")
    assert 0.45 <= low < 0.5 < high <= 0.55
    assert speeds.validating(found, "narrow 1") == pytest.approx(3.0 / script("quality_speeds").EVALUATE)
    assert "0.100 TFLOP/s before" in speeds.unsteady(found)
    assert speeds.unsteady(found | {"gemm_tflops": [0.1, 0.105]}) == ""


@pytest.mark.parametrize("name", ["quality", "small"])
def test_the_controls_are_near_in_multiply_adds(name: str):
    made = script("quality_arms")
    shape = made.SHAPES[name]
    found = made.arms(shape)

    def ratio(one: str, other: str) -> float:
        first, second = (found[label].multiply_adds(shape, vocab=300, length=128) for label in (one, other))
        return first / second

    for narrow, fewer in made.controls(shape).items():
        assert 0.9 < ratio(fewer, narrow) < 1.15
    assert 0.9 < ratio("GroupBERT", "BERT") < 1.1


def test_all_arms_are_wired_alike():
    made = script("quality_arms")
    for shape in made.SHAPES.values():
        assert {arm.recipe(shape)["model"]["encoder"]["wiring"] for arm in made.known(shape).values()} == {"pre"}


def test_other_articles_are_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    arms = script("quality_arms")
    (tmp_path / "wiki_en").mkdir()
    texts = [" ".join(WORDS[place % 7 :]) for place in range(60)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "wiki_en" / "train.parquet")
    monkeypatch.setenv("SLIMBERT_DATA", str(tmp_path))
    monkeypatch.setattr(arms, "VOCAB", 80)
    monkeypatch.setattr(arms, "LENGTH", 16)
    few, many, again = (arms.prepared(tmp_path / "work", count) for count in (30, 60, 30))
    assert few == again != many
    assert 0 < len(Shards.open(few)) < len(Shards.open(many))
