"""The commands of runs that may stop early: asked, bounded, drawn, calibrated; and bad input as one line."""

import json
from pathlib import Path

import pytest

from cli.project import QUICK, Slimbert
from cli.test_bad_input import refused


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
