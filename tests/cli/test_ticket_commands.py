"""The commands of tickets: found, applied, shown, trained; and bad input as one line with exit code 2."""

import json
from pathlib import Path

import pytest

from cli.project import QUICK, Slimbert
from cli.test_bad_input import refused

EARLY = """
ticket:
  detector: {fixed: 0.5, least: 1}
  draw: {heads: {cut: 0.4}, neurons: {cut: 0.4, multiple: 8}}
"""


@pytest.fixture
def early(tmp_path: Path) -> Path:
    (tmp_path / "early.yaml").write_text(EARLY)
    return tmp_path / "early.yaml"


def test_finetune_with_a_ticket_and_look_at_it(toy: Path, tmp_path: Path, early: Path, slimbert: Slimbert):
    words = (
        "finetune",
        toy / "lm",
        toy / "reviews.csv",
        "--ticket",
        early,
        "--out",
        tmp_path / "run",
        "--no-baselines",
    )
    made = slimbert(*words, *QUICK)
    assert made.code == 0 and "ticket: drawn by coefficient after 2 updates (fixed); 1 of 2 heads" in made.err
    shown = slimbert("show", tmp_path / "run", "--length", 16, "--json").json
    units = {part["name"]: part["units"] for part in shown["parts"]}
    assert units["layers.0.0"] == {"head": 1} and units["layers.0.1"] == {"hidden": 32} and units["head"] == {}
    table = slimbert("show", tmp_path / "run", "--length", 16).out
    assert "units" in table and all(len(line) <= 80 for line in table.splitlines() if str(tmp_path) not in line)
    assert slimbert("predict", tmp_path / "run", "good phone").code == 0


def test_finetune_with_a_ticket_that_may_stop_early(toy: Path, tmp_path: Path, early: Path, slimbert: Slimbert):
    words = ("finetune", toy / "lm", toy / "reviews.csv", "--ticket", early, "--out", tmp_path / "run")
    assert slimbert(*words, "--no-baselines", *QUICK, "halting.method=dact").code == 0
    shown = slimbert("show", tmp_path / "run", "--length", 16, "--json").json
    assert {part["name"]: part["kind"] for part in shown["parts"]}["head"] == "dact"
    reached = slimbert("evaluate", tmp_path / "run", toy / "reviews.csv", "--json").json["reached"]
    assert (reached["depth"], reached["guaranteed"]) == ("safe", True)


def test_pretrain_with_a_ticket(toy: Path, tmp_path: Path, early: Path, slimbert: Slimbert):
    words = ("pretrain", toy / "recipe.yaml", "--data", toy / "data", "--ticket", early, "--out", tmp_path / "run")
    made = slimbert(*words, "--set", "ticket.train.start=continue", "--json")
    assert made.code == 0 and made.json["steps"] == 3
    assert json.loads((tmp_path / "run" / "ticket.json").read_text())["updates"] == 2


def test_find_and_apply(toy: Path, tmp_path: Path, early: Path, slimbert: Slimbert):
    words = ("ticket", "find", toy / "init", toy / "reviews.csv", "--ticket", early, "--out", tmp_path / "found")
    made = slimbert(*words, *QUICK)
    assert made.code == 0
    for word in ("layers.0.0.head", "layers.0.1.hidden", "50.0%", "fixed", f"slimbert ticket apply MODEL {tmp_path}"):
        assert word in made.out
    again = slimbert(*words, *QUICK, "--resume", "--json").json
    assert again["units"] == {"layers.0.0.head": [1, 2], "layers.0.1.hidden": [32, 64]} and again["updates"] == 2
    applied = slimbert("ticket", "apply", toy / "init", tmp_path / "found", "--out", tmp_path / "small")
    assert applied.code == 0 and "parameters" in applied.out and "multiply-adds of the layers" in applied.out
    more = slimbert("ticket", "apply", toy / "lm", tmp_path / "small", "--out", tmp_path / "more", "--json").json
    assert more["units"] == again["units"] and more["macs"][0] < more["macs"][1]
    assert slimbert("finetune", tmp_path / "more", toy / "reviews.csv", "--out", tmp_path / "b", *QUICK).code == 0


def test_bad_tickets(toy: Path, tmp_path: Path, early: Path, slimbert: Slimbert):
    find = ("ticket", "find", toy / "init", toy / "reviews.csv", "--out", tmp_path / "found", "--ticket")
    assert slimbert(*find, early, *QUICK).code == 0
    slimbert("init", "2{sf}", "--set", "dim=16", "head_dim=8", "vocab=90", "--out", tmp_path / "other")
    apply = ("ticket", "apply", tmp_path / "other", tmp_path / "found", "--out", tmp_path / "no")
    refused(slimbert(*apply), str(tmp_path / "found"), "another architecture", "find one here")
    refused(slimbert("ticket", "apply", toy / "init", toy, "--out", tmp_path / "no"), "no ticket here", "ticket find")
    new = ("finetune", toy / "init", toy / "reviews.csv", "--out", tmp_path / "r", "--ticket")
    for setting, words in {
        "ticket.draw.heads.cut=0.9": ("ticket.draw.heads.cut", "leaves 0 of 2 heads in layers.0.0.head", "lower it"),
        "ticket.draw.neurons.cut=0.99": ("ticket.draw.neurons.cut", "leaves 0 of 64 neurons", "lower it"),
        "ticket.draw.neurons.multiple=128": ("ticket.draw.neurons.multiple", "lower it"),
        "ticket.detector.fixed=null": ("ticket.detector", "the detector needs 9", "or set fixed"),
        "ticket.detector.least=9": ("ticket.detector.fixed", "9 updates, the run has 4", "train longer"),
        "ticket.draw.head.cut=0.9": ("ticket.draw.head", "did you mean 'heads'?"),
    }.items():
        refused(slimbert(*new, early, *QUICK, setting), *words)
    refused(slimbert(*new, toy / "recipe.yaml", *QUICK), "recipe.yaml", "no `ticket:` in it", "earlybird.yaml")
    refused(slimbert(*new, tmp_path / "nothing.yaml", *QUICK), "nothing.yaml", "cannot be read")
    stays = ("halting.method=entropy", "hidden=tanh")
    refused(slimbert(*new, early, *QUICK, *stays), "--ticket", "leaves the encoder as it is", "in the first stage")
    assert slimbert(*new, early, *QUICK).code == 0  # what was refused left nothing in the way
    again = ("finetune", toy / "init", toy / "reviews.csv", "--out", tmp_path / "r", "--resume", *QUICK)
    refused(slimbert(*again), "a run with a ticket", "--ticket")
    refused(slimbert(*find, early, *QUICK), "not empty", "--resume")
    words = ("ticket", "find", toy / "init", toy / "reviews.csv", "--out", tmp_path / "x", "--ticket", early)
    refused(slimbert(*words, "--init-from", toy / "lm"), "--init-from", "pretraining recipe")
