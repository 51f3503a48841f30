"""The benchmark scripts run, at toy size: what they keep, that they resume, what they write. Nothing is measured."""

import contextlib
import importlib
import json
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmark_rows import corpora, encoder
from slimbert.data.tasks import Split
from slimbert.errors import Interrupted
from slimbert.train.run import RunFolder

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = ("squad", "imdb", "sentence_pairs", "search", "few_shot", "own_file")  # with expected minutes
OLDER = ("sst2", "conll", "prepare", "pretrain_speed", "pretrain_wiki")
MACHINE = {
    "cpu": "toy",
    "cores": 1,
    "threads": 1,
    "instruction_sets": [],
    "gpu": [],
    "gemm_tflops": {"float32": 0.1},
    "versions": {"torch": "0"},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scripts can be imported, keep their records in a temporary folder, and measure no matrix product."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(script("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(script("records"), "environment", lambda measure=False: dict(MACHINE))
    for name in ("arms", "sst2"):
        monkeypatch.setattr(script(name), "gemm_tflops", lambda dtype: 0.1)
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpora(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def data(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLIMBERT_DATA", str(files))
    return files


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def results(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / "records" / name / "result.json").read_text())


@pytest.mark.parametrize("name", [*SCRIPTS, *OLDER])
def test_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--help"])
    run = script(name)
    if not hasattr(run, "main"):
        return
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 0
    assert "--name" in capsys.readouterr().out


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_its_minutes(name: str):
    assert " minutes at 1,200 tokens/s" in (script(name).__doc__ or "")


RUNS = {
    "sst2": ["--rows", "32", "--seeds", "2", "--epochs", "1", "--pairs", "3"],
    "conll": ["--rows", "32", "--seeds", "2", "--epochs", "1"],
    "squad": ["--rows", "24"],
    "imdb": ["--rows", "24", "--rounds", "1"],
    "search": ["--rows", "24", "--questions", "10", "--reranked", "4", "--judged", "12"],
    "few_shot": ["--rows", "10", "--seeds", "2", "--sizes", "2", "4", "--tasks", "ag_news"],
}
KEYS = {
    "sst2": {f"{arm} {seed}" for arm in ("slimbert", "plain") for seed in (0, 1)} | {"speed"},
    "conll": {f"{arm} {seed}" for arm in ("slimbert", "run_ner") for seed in (0, 1)} | {"settings"},
    "squad": {"slimbert 0", "run_qa 0", "settings"},
    "imdb": {"cut at 128 0", "cut at 512 0", "windows of 512 0", "speed", "settings"},
    "search": {"tune 0", "judge 0", "settings", "BM25 0", "BM25, sample 0", "BM25 + re-ranker, sample 0"}
    | {f"MiniLM {kind} 0" for kind in ("as it comes", "tuned", "tuned + BM25")},
    "few_shot": {f"ag_news {size} {seed}" for size in (2, 4) for seed in (0, 1)} | {"settings"},
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("data")
def test_a_script_runs_and_resumes(name: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every arm is kept with the rate of a product beside it; a second start measures nothing again."""
    words = [*RUNS[name], "--name", "zz", "--encoder", str(toy)]
    words += ["--work", str(tmp_path / "work")] if name in ("search", "imdb") else []
    if name == "few_shot":
        monkeypatch.setattr(script(name), "SETTINGS", ("batch_size=16", "min_updates=4", "max_len=64"))
    script(name).main(words)
    found = results(tmp_path, "zz")
    assert set(found) == {*KEYS[name], "summary"}
    assert all("gemm_tflops" in value for key, value in found.items() if key not in ("summary", "settings"))
    assert "| --- | ---: |" in (tmp_path / "records" / "zz" / "README.md").read_text()
    if name == "few_shot":
        assert (tmp_path / "records" / "zz" / "few_shot.png").stat().st_size > 10_000
    monkeypatch.setattr(script("arms"), "gemm_tflops", lambda dtype: pytest.fail("it measures again"))
    script(name).main(words)
    assert results(tmp_path, "zz") == found


@pytest.mark.usefixtures("data")
def test_an_interrupted_imdb_says_how_to_go_on(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def stopped(*given: object, **options: object) -> None:
        raise Interrupted("SIGTERM: stopped after step 6")

    monkeypatch.setattr(script("imdb"), "ours", stopped)
    words = ["--rows", "24", "--only", "scores", "--name", "zz", "--encoder", str(toy), "--work", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        script("imdb").main(words)
    assert ended.value.code == 130
    assert "step 6: start the same command again" in capsys.readouterr().err
    assert set(results(tmp_path, "zz")) == {"settings"}


@pytest.mark.filterwarnings("ignore")  # another library's
@pytest.mark.usefixtures("data")
def test_sentence_pairs_beside_the_other_library(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("sentence_transformers")
    words = ["--rows", "24", "--seeds", "1", "--tasks", "stsb", "qqp", "--name", "zz", "--encoder", str(toy)]
    script("sentence_pairs").main(words)
    found = results(tmp_path, "zz")
    arms = {f"{name} {arm} 0" for name in ("stsb", "qqp") for arm in ("slimbert", "sentence-transformers")}
    assert set(found) == {*arms, "settings", "summary"}
    assert -1 <= found["stsb sentence-transformers 0"]["spearman"] <= 1
    assert found["summary"]["qqp"]["times_as_fast"] > 0
    monkeypatch.setattr(script("arms"), "gemm_tflops", lambda dtype: pytest.fail("it measures again"))
    script("sentence_pairs").main(words)


def test_sentence_pairs_names_the_missing_package(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        script("sentence_pairs").main(["--name", "zz"])
    assert ended.value.code == 2
    assert "pip install" in capsys.readouterr().err


@pytest.mark.usefixtures("data")
def test_own_file_from_a_csv_to_predictions(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    """The commands run in this process here. Nothing of what TOLD lists is guessed in silence."""
    from slimbert.cli import main

    def command(folder: Path, words: list[str]) -> tuple[dict[str, Any], str, str]:
        with contextlib.chdir(folder):
            code = main([*words, *(["--set", "min_updates=4"] if words[0] == "finetune" else [])])
        shown = capsys.readouterr()
        return {"command": " ".join(words), "minutes": 0.0, "code": code}, shown.out, shown.err

    run = script("own_file")
    monkeypatch.setattr(run, "command", command)
    monkeypatch.setattr(run, "NEW", 10)
    run.main(["--rows", "40", "--name", "zz", "--encoder", str(toy)])
    for case in ("news 0", "products 0"):
        found = results(tmp_path, "zz")[case]
        assert found["silent"] == []
        assert len(found["commands"]) == 3
        assert sum(found["predictions"].values()) == 10
    assert "bama" not in (tmp_path / "records" / "zz" / "README.md").read_text()  # no text of the data
    monkeypatch.setattr(run, "command", lambda folder, words: pytest.fail("it measures again"))
    run.main(["--rows", "40", "--name", "zz", "--encoder", str(toy)])


# the parts that several scripts share


def test_arms_take_turns():
    in_turn = script("arms").in_turn
    assert [in_turn({"a": 0, "b": 0}, seed) for seed in range(3)] == [["b", "a"], ["a", "b"], ["b", "a"]]


def test_a_sample_keeps_the_order_and_is_the_same_every_time():
    sample = script("arms").sample
    whole = Split([str(i) for i in range(50)], np.arange(50))
    few = sample(whole, 10)
    assert few.texts == sample(whole, 10).texts
    assert few.labels.tolist() == sorted(few.labels.tolist())
    assert len(set(few.texts)) == 10
    assert sample(whole, 50) is whole


def test_a_verdict_counts_one_pooled_deviation_and_the_goal():
    judged = script("arms").judged
    found = {"a": {"f1": 0.50, "deviation": 0.01}, "b": {"f1": 0.495, "deviation": 0.01}, "times_as_fast": 1.3}
    said = judged(found, "f1", peer="a", mine="b", fast=(1.5, 1.25))
    assert "not below beyond it" in said[0]
    assert ("reached" in said[1]) == ("amx_bf16" not in script("arms").instruction_sets())
    found["b"]["f1"] = 0.48
    assert "**short" in judged(found, "f1", peer="a", mine="b")[0]
    found["b"]["deviation"] = None
    assert "no deviation" in judged(found, "f1", peer="a", mine="b")[0]


def test_a_record_refuses_other_settings(tmp_path: Path):
    records = script("records")
    records.same_settings("zz", {"rows": 5, "sizes": (1, 2)})
    records.same_settings("zz", {"rows": 5, "sizes": (1, 2)})
    with pytest.raises(SystemExit, match="begun with rows 5"):
        records.same_settings("zz", {"rows": 6, "sizes": (1, 2)})


def test_the_text_of_a_person_stays_in_the_readme(tmp_path: Path):
    records = script("records")
    records.keep("zz", "a", 1)
    file = tmp_path / "records" / "zz" / "README.md"
    records.describe("zz", "first")
    file.write_text(f"{file.read_text()}\nWritten by hand.\n")
    records.describe("zz", "second")
    records.describe("zz", "second")
    text = file.read_text()
    assert text.count("second") == 1
    assert "first" not in text
    assert text.startswith("# zz\n")
    assert text.endswith("Written by hand.\n")
    assert "Machine: toy" in text


# the recipe of questions


def test_a_window_finds_its_answer_and_points_at_its_first_piece_without(toy: Path):
    from transformers import AutoTokenizer

    run_qa = script("peers.run_qa")
    words = [f"{a}{b}" for a in ("bama", "goso") for b in ("dene", "kutu", "firi")] * 80
    context = " ".join(words)  # longer than a window
    places = [len(" ".join(words[:i])) + (i > 0) for i in range(len(words))]
    asked = run_qa.Asked(["bama"], [context], [("", 0)])
    windows = list(run_qa._windows(AutoTokenizer.from_pretrained(toy), asked))
    assert len(windows) > 1
    held = 0
    for word, start in list(zip(words, places, strict=True))[::7]:
        spans = [(window, window.span(word, start)) for window in windows]
        whole = [(window, span) for window, span in spans if span != (0, 0)]
        assert whole
        for window, (first, last) in whole:
            assert context[window.places[first][0] : window.places[last][1]] == word
        held += len(whole) < len(windows)
    assert held  # some windows do not hold some answers


def test_the_best_pair_of_places_lies_in_the_context_and_is_short():
    run_qa = script("peers.run_qa")
    context = "ab cd ef gh"
    window = run_qa.Window(0, {}, [None, (0, 2), (3, 5), (6, 8), (9, 11), None])
    starts = np.array([9.0, 0.0, 3.0, 1.0, 0.0, 0.0])  # the highest lies outside
    ends = np.array([0.0, 5.0, 0.0, 1.5, 1.0, 9.0])  # the highest within comes before the start
    assert run_qa._best(window, starts, ends, context) == (5.0, "ab")
    ends[1] = 0.0
    assert run_qa._best(window, starts, ends, context) == (4.5, "cd ef")
    assert run_qa._best(run_qa.Window(0, {}, [None] * 6), starts, ends, context)[1] == run_qa.NO_ANSWER


def test_counted_tokens_are_those_that_the_recipe_reads(toy: Path, monkeypatch: pytest.MonkeyPatch):
    """Padding counted, over all epochs; a long context has several windows."""
    run_qa = script("peers.run_qa")
    read: list[int] = []

    def updates(model: Any, **way: Any) -> Any:
        return lambda batch: read.append(batch["input_ids"].numel())

    monkeypatch.setattr(script("peers.loop"), "updates", updates)
    contexts = ["bama dene firi " * count for count in (1, 3, 8, 20, 300)]
    asked = run_qa.Asked(["goso kutu"] * len(contexts), contexts, [("bama", 0)] * len(contexts))
    way = {"epochs": 3, "batch_size": 2, "seed": 1}
    run_qa.run_qa(toy, asked, run_qa.Asked(["goso"], ["bama dene"]), lr=1e-4, precision="float32", **way)
    counts = run_qa.padded(toy, asked, **way)
    assert counts["tokens"] == sum(read)
    assert counts["windows"] > len(contexts)
    assert len(read) == 3 * -(-counts["windows"] // 2)


# search


@pytest.mark.usefixtures("data")
def test_wrong_paragraphs_do_not_answer(data: Path):
    from slimbert.data.tasks import load_task

    retrieval = script("retrieval")
    task = load_task(data / "squad", kind="squad")
    right = {one.question: (one.context, answers[0][0]) for one, answers in zip(task.train.texts, task.train.labels)}
    made = retrieval.judgements(task, 20)
    assert {0, 1} <= set(made.train.labels.tolist())
    for (question, paragraph), label in zip(made.train.texts, made.train.labels, strict=True):
        context, answer = right[question]
        assert (paragraph == context) == bool(label)
        assert label or answer not in paragraph


def test_places_stand_for_reciprocal_ranks():
    apart = script("retrieval").apart
    assert apart("1111", "2222").difference == pytest.approx(0.5)
    assert apart("A0", "00").difference == pytest.approx(0.05)


# few shot


def scores(tuned: list[float], still: list[float], words: list[float]) -> dict[str, list[float]]:
    few_shot = script("few_shot")
    return dict(zip((few_shot.TUNED, few_shot.STILL, few_shot.WORDS), (tuned, still, words), strict=True))


def test_advice_follows_from_the_figures():
    low, middle, high = [0.5, 0.51, 0.52], [0.6, 0.61, 0.62], [0.8, 0.81, 0.83]
    advice = script("few_shot").advice
    said = advice({"sst2": {8: scores(low, middle, low), 32: scores(high, middle, low)}})
    assert said[-1].startswith("So: on sst2 fine-tune from 32 rows of each class on; with fewer, frozen")
    assert f"{statistics.mean(middle):.1%}" in said[0]
    said = advice({"sst2": {8: scores(high, middle, low)}, "ag_news": {8: scores(middle, middle, low)}})
    assert "on sst2 fine-tune, already with 8" in said[-1]
    assert "on ag_news fine-tuning is not ahead up to 8" in said[-1]
    said = advice({"sst2": {8: scores([0.9], [0.5], [0.5])}})
    assert "not surely ahead" in said[0]  # one draw shows nothing
