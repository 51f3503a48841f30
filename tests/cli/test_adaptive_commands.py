"""The commands of runs that may stop early: asked, bounded, drawn, calibrated; and bad input as one line."""

import json
import re
from pathlib import Path

import pytest

from cli.project import BAD, GOOD, QUICK, Slimbert, sentence, write_csv
from cli.test_bad_input import refused
from slimbert.jobs.depth import calibrate as calibration


@pytest.fixture
def halting(toy: Path, tmp_path: Path, slimbert: Slimbert) -> Path:
    """A run of three units."""
    words = ("init", "3{sf}", "--set", "dim=16", "head_dim=8", "max_len=32", "--tokenizer", toy / "tok")
    assert slimbert(*words, "--out", tmp_path / "init").code == 0
    train = ("finetune", tmp_path / "init", toy / "reviews.csv", "--out", tmp_path / "run", "--no-baselines")
    assert slimbert(*train, *QUICK, "halting.method=dact", "halting.bias=-4").code == 0
    return tmp_path / "run"


def test_a_run_that_may_stop_early_is_asked_bounded_and_drawn(halting: Path, toy: Path, slimbert: Slimbert):
    ask = ("predict", halting, "good phone", "--json")
    for words, guaranteed in {
        (): True,
        ("--depth", "published"): True,
        ("--depth", "full"): True,
        ("--depth", "kappa=0.5"): False,
        ("--max-depth", "1"): False,
    }.items():
        told = slimbert(*ask, *words).lines[0]
        assert told["guaranteed"] is guaranteed and 1 <= told["depth"] <= 3, words
    assert told["depth"] == 1
    assert slimbert(*ask, "--depth", "full").lines[0]["depth"] == 3
    score = ("evaluate", halting, toy / "reviews.csv")
    reached = slimbert(*score, "--depth", "kappa=0.1", "--max-depth", 2, "--json").json["reached"]
    assert (reached["depth"], reached["guaranteed"]) == ("kappa=0.1", False) and reached["mean_depth"] <= 2
    assert "for certain those of the full depth" in slimbert(*score).out
    curve = slimbert(*score, "--depth-curve")
    assert curve.code == 0 and "kappa=0.5 *" in curve.out and "ms, batch 32" in curve.out
    assert {point["depth"] for point in json.loads((halting / "depth_curve.json").read_text())["points"]} >= {"safe"}
    assert (halting / "depth_curve.png").exists()


def test_depths_that_cannot_be_are_one_line(halting: Path, toy: Path, tmp_path: Path, slimbert: Slimbert):
    ask = ("predict", halting, "good phone")
    refused(slimbert(*ask, "--depth", "soon"), "--depth", "'soon' is unknown", "give full, safe")
    refused(slimbert(*ask, "--depth", "safe=0.1"), "--depth", "a tolerance is for numbers", "give safe")
    refused(slimbert(*ask, "--depth", "calibrated"), "no calibration", "slimbert calibrate RUN")
    refused(slimbert(*ask, "--max-depth", 4), "--max-depth", "the model has 3 units", "give 1 to 3")
    refused(slimbert(*ask, "--budget-macs", 1), "--budget-macs", "the first unit alone needs", "give more")
    curve = ("evaluate", halting, toy / "reviews.csv", "--depth-curve")
    refused(slimbert(*curve, "--max-depth", 2), "--depth-curve", "depths of its own", "leave out")
    refused(slimbert("predict", toy / "run", "good", "--depth", "safe"), "--depth", "no trace", "halting.method=dact")
    refused(slimbert("evaluate", toy / "run", toy / "reviews.csv", "--depth-curve"), "after the last layer only")
    small = ("calibrate", halting, "--data", toy / "reviews.csv")
    refused(slimbert(*small), "60 rows", "needs 5,000", "more rows that were held out")
    refused(slimbert(*small, "--disagree", "0.01%"), "needs 29,956")
    refused(slimbert(*small, "--disagree", "half"), "--disagree", "not a share", "give 1%")
    refused(slimbert("calibrate", toy / "run", "--data", toy / "reviews.csv"), "no halting values", "method=dact")
    train = ("finetune", toy / "init", toy / "reviews.csv", "--out", tmp_path / "no", *QUICK)
    refused(slimbert(*train, "halting.method=entropy"), "--set halting.method", "not fine-tuned for these labels")
    refused(slimbert(*train, "halting.method=patience", "halting.h_max=0.5"), "no halting values", "leave out")
    context = {"id": "q", "question": "what is good?", "answers": [{"text": "phone", "answer_start": 9}]}
    paragraphs = [{"context": f"the good phone was number {n}", "qas": [{**context, "id": f"q{n}"}]} for n in range(40)]
    (tmp_path / "qa.json").write_text(json.dumps({"data": [{"title": "phones", "paragraphs": paragraphs}]}))
    asked = ("finetune", toy / "init", tmp_path / "qa.json", "--task", "squad", "--out", tmp_path / "qa", *QUICK)
    refused(slimbert(*asked, "halting.method=dact"), "--set halting", "a head of kind span", "cannot stop early")
    assert slimbert(*asked, "--no-baselines").code == 0  # what was refused left nothing in the way


def test_answers_within_a_budget_are_not_guaranteed(halting: Path, toy: Path, slimbert: Slimbert):
    """However large it is: whether a text fits, only its length tells."""
    ask = ("predict", halting, "good phone", "--json")
    needed = re.search(r"the first unit alone needs ([\d,]+) for a text", slimbert(*ask, "--budget-macs", 1).err)
    assert needed is not None
    first = int(needed[1].replace(",", ""))
    for words, depth in {(first,): 1, (100 * first, "--depth", "full"): 3}.items():
        told = slimbert(*ask, "--budget-macs", *words).lines[0]
        assert (told["depth"], told["guaranteed"]) == (depth, False)
    score = ("evaluate", halting, toy / "reviews.csv", "--budget-macs", 100 * first)
    assert slimbert(*score, "--json").json["reached"]["guaranteed"] is False
    assert "not for certain those of the full depth" in slimbert(*score).out


def test_a_run_is_calibrated_and_asked_by_it(
    halting: Path, toy: Path, tmp_path: Path, slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(calibration, "LEAST_ROWS", 50)
    held = [[sentence((GOOD, BAD)[i % 2], 1000 + i)] for i in range(60)]
    words = ("calibrate", halting, "--data", write_csv(tmp_path / "held.csv", ["text"], held), "--disagree", "30%")
    made = slimbert(*words, "--json").json
    assert (made["asked"], made["rows"], made["confidence"]) == (0.3, 60, 0.95)
    assert made["kappa"] < 1 and made["kappa"] == json.loads((halting / "calibration.json").read_text())["kappa"]
    told = slimbert(*words)
    assert told.code == 0 and "30.0% (as asked)" in told.out and "--depth calibrated" in told.out
    asked = slimbert("predict", halting, "good phone", "--depth", "calibrated", "--json").lines[0]
    assert asked["guaranteed"] is False and 1 <= asked["depth"] <= 3
    score = ("evaluate", halting, toy / "reviews.csv", "--depth", "calibrated")
    reached = slimbert(*score, "--json").json["reached"]
    assert (reached["depth"], reached["guaranteed"]) == ("calibrated", False)
    assert "depth calibrated" in slimbert(*score).out
    refused(slimbert("calibrate", halting, "--data", toy / "reviews.csv", "--disagree", "30%"), "was trained on")
