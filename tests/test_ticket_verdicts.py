"""What the benchmark of tickets makes of its runs: time saved, differences, verdicts, the text of a record."""

import importlib
import json
import math
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_benchmarks import BENCHMARKS, MACHINE


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scripts can be imported, and keep their records in a temporary folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(importlib.import_module("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(importlib.import_module("records"), "environment", lambda measure=False: dict(MACHINE))


@pytest.fixture
def verdicts() -> ModuleType:
    return importlib.import_module("ticket_verdicts")


# time saved

SLOW = ((0, 1.0), (1, 3.0), (2, 1.1))  # seeds, seconds of an update


@given(searched=st.integers(0, 1000), ratio=st.floats(0.1, 1.5))
def test_what_the_ratio_of_steps_allows(searched: int, ratio: float):
    """The table of the issue, for any share of an epoch that was searched: of 3 epochs of 1,000 updates of a second."""
    saved = importlib.import_module("ticket_verdicts").saved
    dense = {"updates": 3000, "seconds_per_update": 1.0, "update_seconds": 3000.0}
    share = searched / 1000
    allowed = {3000: 1 - (share + 3 * ratio) / 3, 3000 - searched: 1 - (share + (3 - share) * ratio) / 3}
    for updates, wanted in allowed.items():  # by rewind, by continue
        spent = {"seconds_per_update": ratio, "update_seconds": searched + ratio * updates}
        found = saved({"updates": updates, "search_updates": searched, **spent}, dense, epochs=3)
        assert (found.saved, found.ratio, found.allowed) == pytest.approx((wanted, ratio, wanted), abs=1e-9)
        assert found.searched == pytest.approx(share)
        assert found.margin == pytest.approx(0.1 * wanted, abs=1e-9)


def test_what_is_allowed_and_what_is_saved_are_of_one_seed(verdicts: ModuleType):
    """A slow machine in one seed changes neither the ratio nor the share of the others."""
    dense = {seed: {"updates": 10, "seconds_per_update": pace, "update_seconds": 10 * pace} for seed, pace in SLOW}
    runs = {
        seed: {"updates": 10, "search_updates": 1 + seed, "seconds_per_update": 0.5 * pace, "update_seconds": 8 * pace}
        for seed, pace in SLOW
    }
    each = verdicts.saved_by_seed(runs, dense, epochs=2)
    assert [one.ratio for one in each] == pytest.approx([0.5, 0.5, 0.5])
    assert [one.allowed for one in each] == pytest.approx([0.4, 0.3, 0.2])
    assert verdicts.medians(each).allowed == pytest.approx(0.3)
    assert verdicts.medians(each).saved == pytest.approx(0.2)
    assert verdicts.saved_by_seed(runs, {1: dense[1]}, epochs=2) == [each[1]]


# differences


def of_scores(*scores: float) -> dict[int, dict[str, float]]:
    return {seed: {"score": score} for seed, score in enumerate(scores)}


def test_differences_are_taken_seed_by_seed(verdicts: ModuleType):
    ticket, random = of_scores(0.90, 0.80, 0.85), of_scores(0.88, 0.81)
    found = verdicts.apart(ticket, random)
    assert (found.mean, found.seeds) == (pytest.approx(0.005), 2)
    assert found.deviation == pytest.approx(statistics.stdev([0.02, -0.01]))
    reach = 12.706 * found.deviation / math.sqrt(2)  # Student's t of one degree of freedom
    assert (found.low, found.high) == (pytest.approx(0.005 - reach, rel=1e-3), pytest.approx(0.005 + reach, rel=1e-3))
    once = verdicts.apart(ticket, of_scores(0.88))
    assert once.mean == pytest.approx(0.02) and math.isnan(once.deviation)
    assert verdicts.plain(once)["deviation"] is None
    assert verdicts.apart(ticket, {}) is None


def test_what_is_said_of_a_search(verdicts: ModuleType):
    ticket = of_scores(0.900, 0.898, 0.901)
    peers = (of_scores(*(3 * [score])) for score in (0.85, 0.90, 0.95))
    better, same, worse = (verdicts.apart(ticket, peer) for peer in peers)
    assert verdicts.said_of_search(better) == "beyond the noise: the search pays here"
    assert verdicts.said_of_search(same) == "within noise: the search is unnecessary here"
    assert verdicts.said_of_search(worse) == "**below: the search does harm here**"
    once = verdicts.apart(of_scores(0.9), of_scores(0.8))
    assert verdicts.said_of_search(once) == "one seed, no verdict"
    assert verdicts.said_apart(once) == "+10.00 points (one seed, so no deviation is known)"
    assert verdicts.said_apart(same).endswith("3 seeds)")


def test_losses_at_equal_times():
    curves = {"dense": [[10, 4.0], [30, 3.0], [50, 2.0]], "ticket": [[25, 3.0], [40, 1.5]]}
    times, losses = importlib.import_module("ticket_curves").at_seconds(curves)
    assert times == [10, 20, 30, 40]
    assert losses["dense"] == pytest.approx([4.0, 3.5, 3.0, 2.5])
    assert losses["ticket"] == pytest.approx([math.nan, math.nan, 2.5, 1.5], nan_ok=True)


# the text of a record


def run_of(score: float, seconds: float, pace: float, *, updates: int = 1875, searched: int = 0) -> dict[str, Any]:
    found = {"score": score, "update_seconds": seconds, "seconds_per_update": pace, "updates": updates}
    return found | {"metric": "accuracy", "search_updates": searched, "why": "detected" if searched else "no search"}


ARMS = {
    "dense": run_of(0.900, 1900, 1.0),
    "ticket": run_of(0.895, 1400, 0.66, searched=125),  # 26.3% saved, 27.3% allowed
    "ticket, continue": run_of(0.885, 1380, 0.66, updates=1750, searched=125),  # 27.4% saved, 31.7% allowed
    "random": run_of(0.894, 1300, 0.66),
    "equal": run_of(0.850, 1300, 0.66),
    "dense, short": run_of(0.896, 1270, 1.0, updates=1250),
    "ticket, short": run_of(0.890, 1000, 0.66, updates=1250, searched=125),
    "strong": run_of(0.870, 1300, 0.5, updates=1750, searched=125),
    "magnitude": run_of(0.893, 1300, 0.66),
}
STEP = {
    **{call: {"median": 0.5, "seconds": [0.5]} for call in ("dense update", "ticket update", "search update")},
    **{call: {"median": 0.2, "seconds": [0.2]} for call in ("dense inference", "ticket inference")},
    "update": {"times_as_fast": 1.50, "interval": [1.48, 1.53]},
    "inference": {"times_as_fast": 1.40, "interval": [1.39, 1.42]},
    "search_over_dense": 1.05,
    "multiply_adds": 1.6,
}
NOISE = {"random": (0.0, 0.004, -0.004), "ticket": (0.0, 0.001, -0.001)}


def made(seeds: int, *, also: dict[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """(summary, README) of a record of so many seeds of QNLI, and what else it is to hold."""
    script, keep = importlib.import_module("tickets"), importlib.import_module("records").keep
    for seed in range(seeds):
        for arm, run in ARMS.items():
            if seed == 0 or arm not in script.ONCE:
                score = run["score"] + NOISE.get(arm, (0.0,) * 3)[seed]
                keep("zz", f"qnli {arm} {seed}", {**run, "score": score, "gemm_tflops": 0.1})
    for key, value in (also or {}).items():
        keep("zz", key, {**value, "gemm_tflops": 0.1})
    script.Bench("zz", None, Path(), 20000, 3, 30.0, "cpu").write()
    folder = importlib.import_module("records").RECORDS / "zz"
    return json.loads((folder / "result.json").read_text())["summary"], (folder / "README.md").read_text()


def test_ticket_record_says_what_was_reached():
    told, text = made(3, also={"steps bert_base float32": STEP})
    said = "\n".join(told["said"])
    for words in (
        "update 1.50 times as fast as dense (95% interval 1.48 to 1.53), goal 1.45: reached.",
        "inference 1.40 times as fast as dense (95% interval 1.39 to 1.42), goal 1.45: **short**.",
        "ticket: 26.3% of the time of dense saved, search included, 3 seeds, goal 22%: reached; "
        "r = 0.660 allows 27.3%, of which 96%, 96%, 96% by seed, goal 90%: reached; score -0.50 points",
        "ticket, continue: 27.4% of the time of dense saved, search included, 3 seeds, goal 27%: reached; "
        "r = 0.660 allows 31.7%, of which 86%, 86%, 86% by seed, goal 90%: **short**; score -1.50 points",
        "beside dense, goal -1.00: **short**.",
        "ticket, short: 47.4% of the time of dense saved, search included, 3 seeds, goal 40%: reached;",
        "strong: 31.6% of the time of dense saved, search included, 3 seeds, goal 35%: **short**; score -3.00 points",
        "dense, short: 33.2% saved without any ticket, score -0.40 points",
        "ticket, short beside dense, short: score -0.60 points",
        "ticket over magnitude: +0.20 points (one seed, so no deviation is known): one seed, no verdict.",
    ):
        assert words in said, words
    lines = {line.partition(":")[0]: line for line in told["said"]}
    assert "+0.10 points (deviation 0.30," in lines["ticket over random"]
    assert lines["ticket over random"].endswith("within noise: the search is unnecessary here.")
    assert lines["ticket over equal"].endswith("beyond the noise: the search pays here.")
    figures = told["qnli"]
    assert figures["ticket"]["seeds"] == 3 and figures["magnitude"]["seeds"] == 1
    assert figures["ticket"]["searched"] == pytest.approx(0.2)
    assert figures["ticket"]["over"]["random"]["mean"] == pytest.approx(0.001)
    for line in told["said"]:
        assert line in text


def test_ticket_record_of_one_seed_is_a_table():
    told, text = made(1)
    assert "| ticket | 89.50 | 1,400 | -0.50 | 26.3% | 27.3% | 22% | 0.660 | 0.200 | 1 |" in text
    assert "| ticket over random | +0.10 |  |  |  | 1 |" in text
    assert all("deviation 0" not in line for line in told["said"])
    for title in ("## A step of [8, 128]", "## Other tasks, one seed", "## Pretraining, one seed"):
        assert f"{title}\n\nNot measured yet." in text
    assert "Not measured yet: `qnli dense 1`, `qnli ticket 1`, " in text
    assert "`qnli magnitude" not in text


def test_ticket_record_without_any_run():
    told, text = made(0, also={"qnli random 0": ARMS["random"]})
    assert told == {"said": [], "qnli": {}}
    assert "Nothing that a claim is about is measured yet." in text


def test_ticket_record_of_other_tasks_and_pretraining(tmp_path: Path):
    curves = {arm: [[300.0, 6.0], [1800.0, last]] for arm, last in (("dense", 4.0), ("ticket", 3.9), ("random", 4.1))}
    also: dict[str, Any] = {f"pretraining {arm}": {"curve": curve} for arm, curve in curves.items()}
    also |= {"pretraining dense, sst2": run_of(0.80, 1, 1), "pretraining ticket, sst2": run_of(0.81, 1, 1)}
    also |= {"squad dense 0": run_of(0.60, 1000, 1), "squad ticket 0": run_of(0.59, 750, 1, searched=38)}
    told, text = made(0, also=also)
    assert (
        "after 30.0 minutes of pretraining, one seed: dense 4.000 nats; beside it ticket -0.100, random +0.100."
        in (told["said"][0])
    )
    assert "| ticket | 5.790 | 5.160 | 4.530 | 3.900 |" in text
    assert "| ticket | 81.00 (+1.00) | not measured |" in text
    row = "| squad | accuracy | 60.00 | 59.00 | -1.00 | 1,000 | 750 | 25.0% | 38 updates, detected |"
    assert row in text
    assert "Not measured yet: `conll2003 dense 0`, `conll2003 ticket 0`." in text
    assert (tmp_path / "records" / "zz" / "curve.png").stat().st_size > 10_000
