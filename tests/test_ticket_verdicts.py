"""What the benchmark of tickets makes of its runs: time saved, differences, verdicts, the text of a record."""

import importlib
import math
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
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

ROUNDS = 8


def times(*, search: float = 1.0, ticket: float = 0.66, strong: float = 0.5, between: float = 0.0) -> dict[str, Any]:
    """Updates in turn on batches of unlike length, of which each arm takes the same share of dense."""
    dense = [1.0 + 0.1 * (turn % 3) for turn in range(ROUNDS)]
    shares = {"dense": 1.0, "search": search, "ticket": ticket, "strong": strong}
    found = {arm: {"median": share, "seconds": [share * one for one in dense]} for arm, share in shares.items()}
    return {**found, "rounds": ROUNDS, "between": between * statistics.mean(dense), "gemm_tflops": 0.1}


@given(searched=st.integers(0, 1000), ratio=st.floats(0.1, 1.5))
def test_what_the_ratio_of_steps_allows(searched: int, ratio: float):
    """The table of the issue, for any share of an epoch that was searched: of 3 epochs of 1,000 updates."""
    verdicts = importlib.import_module("ticket_verdicts")
    dense, share = {"updates": 3000, "update_seconds": 3000.0}, searched / 1000
    pace = verdicts.pace_of(times(ticket=ratio), "ticket")
    allowed = {3000: 1 - (share + 3 * ratio) / 3, 3000 - searched: 1 - (share + (3 - share) * ratio) / 3}
    for updates, wanted in allowed.items():  # by rewind, by continue
        run = {"updates": updates, "search_updates": searched, "update_seconds": 1500.0}
        found = verdicts.saved({0: run}, {0: dense}, pace, epochs=3)
        assert (found.saved, found.ratio, found.allowed) == pytest.approx((wanted, ratio, wanted), abs=1e-9)
        assert (found.low, found.high) == pytest.approx((wanted, wanted), abs=1e-9)  # all rounds say the same
        assert (found.searched, found.whole) == pytest.approx((share, 0.5))
        assert found.margin == pytest.approx(0.1 * wanted, abs=1e-9)


def test_a_dear_search_and_a_slow_draw_are_counted(verdicts: ModuleType):
    """100 of 1,000 updates of search at 1.5 times the price of dense ones, and 20 updates' time to draw."""
    run, dense = {"updates": 1000, "search_updates": 100, "update_seconds": 1.0}, {"updates": 1000, "update_seconds": 1}
    pace = verdicts.pace_of(times(search=1.5, ticket=0.5, between=20.0), "ticket")
    found = verdicts.saved({0: run}, {0: dense}, pace, epochs=1)
    assert found.allowed == pytest.approx(1 - 0.6)
    assert found.saved == pytest.approx(1 - 0.15 - 0.5 - 0.02)
    assert found.margin == pytest.approx(found.saved - 0.9 * found.allowed) and found.margin < 0
    assert verdicts.of_allowed({0: run}, {0: dense}, pace) == pytest.approx([0.33 / 0.4])
    plain = {"updates": 1000, "update_seconds": 1.0}  # dense: neither searched nor drawn
    assert verdicts.saved({0: plain}, {0: dense}, pace, epochs=1).saved == pytest.approx(0.5)


def test_every_arm_has_the_pace_of_its_own_model(verdicts: ModuleType):
    paces = {arm: verdicts.pace_of(times(), arm).trained[0] for arm in ("dense, short", "strong", "random", "ticket")}
    assert paces == pytest.approx({"dense, short": 1.0, "strong": 0.5, "random": 0.66, "ticket": 0.66})
    assert verdicts.pace_of(None, "ticket") is None


def test_a_ratio_is_of_sums_and_its_interval_of_rounds(verdicts: ModuleType):
    """A round of which the ticket took twice as long moves the ratio, and the interval holds it."""
    found = times()
    found["ticket"]["seconds"][0] *= 2
    dense, ticket = (sum(found[arm]["seconds"]) for arm in ("dense", "ticket"))
    pace = verdicts.pace_of(found, "ticket")
    assert pace.trained[0] == pytest.approx(ticket / dense)
    low, high = (float(one) for one in verdicts.r_of(pace).partition("(")[2].strip(")").split(" to "))
    assert low == pytest.approx(0.66, abs=1e-3) and pace.trained[0] < high < 1.32


def test_what_is_saved_is_the_median_of_the_seeds(verdicts: ModuleType):
    dense = {seed: {"updates": 10, "update_seconds": 10.0} for seed in range(3)}
    runs = {
        seed: {"updates": 10, "search_updates": 1 + seed, "update_seconds": 8.0 - seed} for seed in range(3)
    }  # whole runs save 20%, 30%, 40%
    found = verdicts.saved(runs, dense, verdicts.pace_of(times(ticket=0.5), "ticket"), epochs=2)
    assert (found.saved, found.whole, found.searched) == pytest.approx((0.3, 0.3, 0.4))
    untimed = verdicts.saved(runs, dense, None, epochs=2)
    assert math.isnan(untimed.saved) and untimed.whole == pytest.approx(0.3)
    assert verdicts.plain(untimed)["saved"] is None
    assert verdicts.saved(runs, {}, None, epochs=2) is None
    assert verdicts.whole_by_seed(runs, {1: dense[1]}) == pytest.approx([0.3])


# differences


def of_scores(*scores: float) -> dict[int, dict[str, float]]:
    return {seed: {"score": score} for seed, score in enumerate(scores)}


def of_rows(*scores: float, rows: int = 400) -> dict[int, dict[str, Any]]:
    """Runs that answer the first rows right, so many of them."""
    packed = importlib.import_module("depth_verdicts").packed
    return {
        seed: {"score": score, "rows": rows, "right": packed([row < score * rows for row in range(rows)])}
        for seed, score in enumerate(scores)
    }


def test_differences_are_taken_seed_by_seed(verdicts: ModuleType):
    ticket, random = of_scores(0.90, 0.80, 0.85), of_scores(0.88, 0.81)
    found = verdicts.apart(ticket, random)
    assert (found.mean, found.seeds) == (pytest.approx(0.005), 2)
    assert found.deviation == pytest.approx(statistics.stdev([0.02, -0.01]))
    reach = 12.706 * found.deviation / math.sqrt(2)  # Student's t of one degree of freedom
    assert (found.low, found.high) == (pytest.approx(0.005 - reach, rel=1e-3), pytest.approx(0.005 + reach, rel=1e-3))
    assert math.isnan(found.rows_low)
    once = verdicts.apart(ticket, of_scores(0.88))
    assert once.mean == pytest.approx(0.02) and math.isnan(once.deviation)
    assert verdicts.plain(once)["deviation"] is None
    assert verdicts.apart(ticket, {}) is None


def test_rows_are_paired_within_a_seed(verdicts: ModuleType):
    """8 rows of 400 are answered otherwise, the same in every seed: sqrt(p (1 - p) / n) is 0.007."""
    found = verdicts.apart(of_rows(0.82, 0.82, 0.82), of_rows(0.80, 0.80, 0.80))
    assert found.mean == pytest.approx(0.02)
    reach = 1.96 * math.sqrt(0.02 * 0.98 / 400)
    assert found.rows_low == pytest.approx(0.02 - reach, abs=0.003)
    assert found.rows_high == pytest.approx(0.02 + reach, abs=0.003)
    assert "95% over the rows +0." in verdicts.said_apart(found)
    once = verdicts.apart(of_rows(0.82), of_rows(0.80))
    assert verdicts.said_apart(once).startswith("+2.00 points (one seed, so no deviation is known; 95% over the rows")


def test_f1_is_paired_by_its_counts(scripts: None):
    """Of rows with counts of what is right, answered and there; a row alone has no F1."""
    scored = importlib.import_module("scored")
    counts = np.array([[1, 2, 1], [2, 2, 3], [0, 0, 0], [3, 3, 3]] * 20, dtype=np.float64)
    worse = counts * [0.5, 1, 1]
    runs = [{"rows": len(some), "each": scored._put_away(some)} for some in (counts, worse)]
    assert (scored.numbers_of(runs[0]) == counts).all()
    found = scored.paired([runs[0]], [runs[1]])
    assert found.difference == pytest.approx(2 * 6 / 14 - 2 * 3 / 14)
    assert found.low < found.difference < found.high
    assert scored.paired([runs[0]], [{"rows": 80}]) is None


def test_overlap_of_tickets(verdicts: ModuleType):
    packed = importlib.import_module("depth_verdicts").packed
    masks = ([1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0])
    runs = {seed: {"units": {"heads": {"of": 4, "kept": packed(mask)}}} for seed, mask in enumerate(masks)}
    assert verdicts.overlap(runs, "heads") == pytest.approx((1 / 3 + 1 + 1 / 3) / 3)
    assert verdicts.overlap({0: runs[0], 1: {}}, "heads") is None


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
    assert "95% over 3 seeds" in verdicts.said_apart(same)


def test_a_search_that_only_one_interval_is_sure_of(verdicts: ModuleType):
    better = verdicts.Apart(0.005, 0.003, -0.002, 0.012, 0.001, 0.009, 3)
    assert verdicts.said_of_search(better) == "beyond the noise of the rows, within that of the seeds: undecided"
    seeds = better._replace(low=0.001, rows_low=-0.001)
    assert verdicts.said_of_search(seeds) == "beyond the noise of the seeds, within that of the rows: undecided"


def test_losses_at_equal_times():
    curves = {"dense": [[10, 4.0], [30, 3.0], [50, 2.0]], "ticket": [[25, 3.0], [40, 1.5]]}
    times, losses = importlib.import_module("ticket_curves").at_seconds(curves)
    assert times == [10, 20, 30, 40]
    assert losses["dense"] == pytest.approx([4.0, 3.5, 3.0, 2.5])
    assert losses["ticket"] == pytest.approx([math.nan, math.nan, 2.5, 1.5], nan_ok=True)
