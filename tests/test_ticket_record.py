"""The text of the record of tickets, of one that is whole or partly there: what it says, and on how many seeds."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from test_benchmarks import BENCHMARKS, MACHINE
from test_ticket_verdicts import times


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scripts can be imported, and keep their records in a temporary folder; no bfloat16 on this machine."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(importlib.import_module("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(importlib.import_module("records"), "environment", lambda measure=False: dict(MACHINE))
    monkeypatch.setattr(importlib.import_module("tickets"), "best_dtype", lambda device: "float32")


def run_of(score: float, seconds: float, *, updates: int = 1875, searched: int | None = None) -> dict[str, Any]:
    found = {"score": score, "update_seconds": seconds, "updates": updates, "metric": "accuracy"}
    why = "detected" if searched else "no search"
    return found if searched is None else found | {"search_updates": searched, "why": why}


ARMS = {
    "dense": run_of(0.900, 1900),
    "ticket": run_of(0.895, 1400, searched=125),
    "ticket, continue": run_of(0.885, 1380, updates=1750, searched=125),
    "random": run_of(0.894, 1300, searched=0),
    "equal": run_of(0.850, 1300, searched=0),
    "dense, short": run_of(0.896, 1270, updates=1250),
    "ticket, short": run_of(0.890, 1000, updates=1250, searched=125),
    "strong": run_of(0.870, 1300, updates=1750, searched=125),
    "magnitude": run_of(0.893, 1300, searched=0),
}
STEP = {
    **{call: {"median": 0.5, "seconds": [0.5]} for call in ("dense update", "ticket update", "search update")},
    **{call: {"median": 0.2, "seconds": [0.2]} for call in ("dense inference", "ticket inference")},
    "update": {"times_as_fast": 1.50, "interval": [1.48, 1.53]},
    "inference": {"times_as_fast": 1.40, "interval": [1.39, 1.42]},
    "search_over_dense": 1.05,
    "multiply_adds": 1.6,
}
TIMES = {"times qnli": times(search=1.2, ticket=0.66, strong=0.62, between=10.0)}
NOISE = {"random": (0.0, 0.004, -0.004), "ticket": (0.0, 0.001, -0.001)}


def made(seeds: int, *, also: dict[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """(summary, README) of a record of so many seeds of QNLI, and what else it is to hold."""
    script, keep = importlib.import_module("tickets"), importlib.import_module("records").keep
    for seed in range(seeds):
        for arm, run in ARMS.items():
            if seed == 0 or arm not in script.ONCE:
                score = run["score"] + NOISE.get(arm, (0.0,) * 3)[seed]
                keep("zz", f"qnli {arm} {seed}", {**run, "score": score, "gemm_tflops": 0.1, "code": "abc"})
    for key, value in (also or {}).items():
        keep("zz", key, {**value, "gemm_tflops": 0.1} if isinstance(value, dict) else value)
    script.Bench("zz", None, Path(), 20000, 3, 30.0, "cpu").write()
    folder = importlib.import_module("records").RECORDS / "zz"
    return json.loads((folder / "result.json").read_text())["summary"], (folder / "README.md").read_text()


def test_ticket_record_says_what_was_reached():
    told, text = made(3, also={"steps bert_base float32": STEP, **TIMES})
    said = "\n".join(told["said"])
    for words in (
        "update 1.50 times as fast as dense (95% interval 1.48 to 1.53), goal 1.45: reached.",
        "inference 1.40 times as fast as dense (95% interval 1.39 to 1.42), goal 1.45: **short**.",
        "ticket: 25.5% (25.5% to 25.5%) of the time of dense saved, search included, 3 seeds, goal 22%: reached; "
        "whole runs 26.3%, 26.3%, 26.3%; "
        "r = 0.660 (0.660 to 0.660) allows 27.3%, of which 93%, 93%, 93% by seed, goal 90%: reached; score -0.50",
        "ticket, continue: 29.9% (29.9% to 29.9%) of the time of dense saved, search included, 3 seeds, goal 27%: re",
        "allows 31.7%, of which 94%, 94%, 94% by seed, goal 90%: reached; score -1.50 points",
        "beside dense, goal -1.00: **short**.",
        "ticket, short: 47.5% (47.5% to 47.5%) of the time of dense saved, search included, 3 seeds, goal 40%: reached",
        "strong: 33.6% (33.6% to 33.6%) of the time of dense saved, search included, 3 seeds, goal 35%: **short**;",
        "dense, short: 33.3% saved without any ticket, score -0.40 points",
        "ticket, short beside dense, short: score -0.60 points",
        "ticket over magnitude: +0.20 points (one seed, so no deviation is known): one seed, no verdict.",
    ):
        assert words in said, words
    lines = {line.partition(":")[0]: line for line in told["said"]}
    assert "+0.10 points (95% over 3 seeds" in lines["ticket over random"]
    assert lines["ticket over random"].endswith("within noise: the search is unnecessary here.")
    assert lines["ticket over equal"].endswith("beyond the noise: the search pays here.")
    figures = told["qnli"]
    assert figures["ticket"]["seeds"] == 3 and figures["magnitude"]["seeds"] == 1
    assert figures["ticket"]["searched"] == pytest.approx(0.2)
    assert figures["ticket"]["over"]["random"]["mean"] == pytest.approx(0.001)
    for line in told["said"]:
        assert line in text
    assert "| qnli | 1,088 | 1.200 | 0.660 (0.660 to 0.660) | 0.620 (0.620 to 0.620) | 10.9 | 8 |" in text
    assert "bfloat16 is not measured" in text
    assert "different code" not in text


def test_a_dear_search_falls_short_of_what_the_ratio_allows():
    told, _ = made(1, also={"times qnli": times(search=1.5, ticket=0.66, between=10.0)})
    assert "of which 86% by seed, goal 90%: **short**" in "\n".join(told["said"])


def test_ticket_record_of_one_seed_is_a_table():
    told, text = made(1)
    line = "| ticket | 89.50 | -0.50 | not timed | not timed | 22% | not timed | 26.3% | 0.200 (detected) | 1 |"
    assert line in text
    assert "ticket: updates are not timed yet, whole runs 26.3% of the time saved; score -0.50 points" in text
    assert "| ticket over random | +0.10 |  |  |  |  |  | 1 |" in text
    assert all("deviation 0" not in line for line in told["said"])
    for title in ("## A step of [8, 128]", "## Other tasks, one seed", "## Pretraining, one seed"):
        assert f"{title}\n\n" in text
    assert "Not measured yet: `qnli dense 1`, `qnli ticket 1`, " in text
    assert "`qnli magnitude" not in text


def test_ticket_record_without_any_run():
    told, text = made(0, also={"qnli random 0": ARMS["random"]})
    assert told == {"said": [], "qnli": {}}
    assert "Nothing that a claim is about is measured yet." in text


def test_rows_of_one_record_made_by_different_code_are_named():
    text = made(1, also={"qnli dense 1": {**ARMS["dense"], "code": "abd+"}})[1]
    assert "Made by different code" in text and "abd+ made `qnli dense 1`" in text
    assert "abc made `qnli dense 0`, `qnli ticket 0`" in text


def test_the_code_of_a_record_is_that_of_the_library():
    """The last commit that changed it, whatever else was committed since."""
    records = importlib.import_module("records")
    records.code.cache_clear()
    assert re.fullmatch(r"unknown|[0-9a-f]{7,40}\+?", records.code())


def test_ticket_record_of_other_tasks_and_pretraining(tmp_path: Path):
    curves = {arm: [[300.0, 6.0], [1800.0, last]] for arm, last in (("dense", 4.0), ("ticket", 3.9), ("random", 4.1))}
    also: dict[str, Any] = {f"pretraining {arm}": {"curve": curve} for arm, curve in curves.items()}
    also |= {"pretraining dense, sst2": run_of(0.80, 1), "pretraining ticket, sst2": run_of(0.81, 1)}
    also |= {"squad dense 0": run_of(0.60, 1000), "squad ticket 0": run_of(0.59, 750, searched=125)}
    also |= {"times squad": times(), "unigram_entropy": 4.75}
    told, text = made(0, also=also)
    assert (
        "after 30.0 minutes of pretraining, one seed: dense 4.000 nats; beside it ticket -0.100, random +0.100."
        in (told["said"][0])
    )
    assert "| ticket | 5.790 | 5.160 | 4.530 | 3.900 |" in text
    assert "0.7 nat below the 4.750 nats of unigrams: dense after 30.0 minutes, ticket after 30.0" in text
    assert "random never" in text
    assert "| ticket | 81.00 (+1.00) | not measured |" in text
    assert "| squad | accuracy | 60.00 | 59.00 | -1.00 | 27.3% | 27.3% | 25.0% | 0.200 (detected) |" in text
    assert "Not measured yet: `conll2003 dense 0`, `conll2003 ticket 0`." in text
    assert (tmp_path / "records" / "zz" / "curve.png").stat().st_size > 10_000
