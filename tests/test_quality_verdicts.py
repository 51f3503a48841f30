"""What the record of quality for time says follows from its figures: no verdict where nothing counts, where one seed
alone would decide, or where intervals overlap."""

import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from test_benchmarks import BENCHMARKS, MACHINE

CONVBERT = "ConvBERT finding replaced tokens"
GOAL = "A combination ahead of BERT at every time from 5 minutes on: "


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A record of which nothing is measured; a run counts below 6.3."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(script("records"), "RECORDS", tmp_path / "records")
    monkeypatch.setattr(script("records"), "environment", lambda measure=False: dict(MACHINE))
    widths = {"128": 15.0, "192": 25.0, "256": 45.0}
    keep("settings", {"shape": "quality"})
    keep("minutes", {"screening": 20.0, "long": 60.0, "widths": widths})
    keep("unigram_entropy", 7.0)


def keep(key: str, value: Any) -> None:
    script("records").keep("zz", key, value)


def kept(label: str, losses: list[float], *, given: float = 20.0, seed: int = 0) -> str:
    """A run that stands in the record, validated at equal distances up to its end."""
    arm = script("quality_record").wanted("zz")[label]
    curve = [[1000 * (place + 1), loss] for place, loss in enumerate(losses)]
    key = script("quality_record").run_key(given, label, seed)
    run = {"key": key, "part": "runs", "label": label, "given": given, "seed": seed, "minutes": given, "curve": curve}
    run |= {"tokens": curve[-1][0], "val_loss": losses[-1], "pattern": arm.pattern, "detects": arm.detects}
    keep(key, run | {"multiply_adds": 400.0, "row": 128, "dim": 192, "lr": 1e-3})
    return key


def settled(*, apart: float = 0.002, given: float = 20.0) -> None:
    """A third arm with two seeds that lie so far apart at every validation."""
    for seed in (0, 1):
        kept("context first", [6.6, 6.5, 6.2, 6.2 + apart * seed], given=given, seed=seed)


def width(dim: int, bert: float, group: float, *, tried: float = 6.5) -> None:
    made = script("quality_record")
    given = made.minutes("zz")["widths"][str(dim)]
    for label, loss in (("BERT", bert), ("GroupBERT", group)):
        run = {"part": "widths", "val_loss": loss, "rates": [[5e-4, tried], [1e-3, tried - 0.1], [2e-3, None]]}
        run |= {"tokens": 4e6, "multiply_adds": 400.0, "row": 128, "minutes": given, "lr": 1e-3}
        keep(made.width_key(dim, given, label), run)


def scored(key: str, value: float, *, tasks: tuple[str, ...], half: float = 0.02) -> None:
    for task in tasks:
        keep(f"{task}: {key}", {"task": task, "score": value, "low": value - half, "high": value + half})


def test_nothing_measured_is_nothing_said():
    said = script("quality_verdicts").claims("zz")
    assert len(said) == 8 and all("not measured" in one for one in said)
    script("quality_report").write("zz")
    assert (script("records").RECORDS / "zz" / "curve.png").stat().st_size > 10_000


# curves


def test_no_verdict_beside_a_bert_that_does_not_count():
    curves, verdicts = script("quality_curves"), script("quality_verdicts")
    settled()
    kept("BERT", [6.6, 6.5, 6.45, 6.4])
    kept("narrow 2", [6.5, 6.4, 6.3, 6.2])
    assert curves.goal("zz") == f"{GOAL}no verdict, since BERT does not count after 20 minutes."
    assert curves.beside("zz", "narrow 2", 20.0).verdict == "not counted"
    assert verdicts.uncounted("zz") == ["Not counted, since their loss is too high: 20 min, BERT 0."]
    assert script("quality_report").run_table("zz").count("**never**") == 1


def test_curves_are_told_apart_only_from_where_one_of_them_counts():
    curves = script("quality_curves")
    settled()
    kept("BERT", [6.8, 6.5, 6.25, 6.2])  # at minute 5, 10, 15, 20
    kept("narrow 2", [6.9, 6.4, 6.2, 6.1])  # behind at minute 5, where neither counts
    found = curves.beside("zz", "narrow 2", 20.0)
    assert found.since == 15.0 and found.verdict == "ahead"
    assert [one.lead > 0 for one in found.before] == [False, True]
    assert [round(one.lead, 3) for one in found.after] == [0.05, 0.1]
    table = script("quality_report").beside_table("zz")
    assert "| 20 min, narrow 2 | 1 | 15.0 | 1 of 2 | +0.050 (minute 15.0) | +0.100 | ahead |" in table
    kept("narrow 2", [6.9, 6.4, 6.3, 6.1])  # it counts at minute 15, where BERT is ahead by far
    assert curves.beside("zz", "narrow 2", 20.0).verdict == "behind"


def test_a_crossing_within_the_seeds_is_neither_ahead_nor_behind():
    curves, spread = script("quality_curves"), script("quality_record").spread
    kept("BERT", [6.6, 6.4, 6.25, 6.2])
    kept("narrow 2", [6.5, 6.3, 6.251, 6.1])
    assert curves.beside("zz", "narrow 2", 20.0).verdict == "seeds not measured"
    assert curves.goal("zz").startswith(f"{GOAL}no verdict yet, ")
    settled(apart=0.01)
    assert spread("zz", share=0.75).margin(1, 1) == 0.0  # its seeds differ at the end alone
    assert curves.beside("zz", "narrow 2", 20.0).verdict == "behind"
    kept("context first", [6.6, 6.5, 6.21, 6.2], seed=1)
    assert curves.beside("zz", "narrow 2", 20.0).verdict == "within the seeds"


def test_the_goal_is_reached_in_the_long_run():
    goal = script("quality_curves").goal
    settled()
    kept("BERT", [6.6, 6.4, 6.2, 6.1])
    kept("narrow 2", [6.5, 6.3, 6.1, 6.0])
    assert goal("zz") == f"{GOAL}narrow 2 to 20 minutes, to 60 not measured."
    kept("BERT", [6.4, 6.2, 6.0, 5.8], given=60.0)
    kept("narrow 2", [6.35, 6.1, 5.9, 5.9], given=60.0)
    assert goal("zz") == f"{GOAL}**short**, narrow 2 to 20 minutes, not to 60."
    kept("narrow 2", [6.35, 6.1, 5.9, 5.7], given=60.0)
    assert goal("zz") == f"{GOAL}narrow 2 to 60 minutes (told from minute 30.0 on)."
    kept("narrow 2", [6.7, 6.5, 6.3, 6.2])
    assert goal("zz").startswith(f"{GOAL}no verdict yet, ") and goal("zz").endswith(" arms not measured.")
    for label in script("quality_arms").arms(script("quality_record").shape("zz")):
        if not label.startswith("BERT"):
            kept(label, [6.7, 6.5, 6.3, 6.2])
    for label in ("BERT of 3 layers", "BERT of 4 layers"):
        kept(label, [6.0, 6.0, 6.0, 6.0])
    assert goal("zz") == f"{GOAL}**short**, none of those that count."


def test_curves_are_means_over_the_seeds_that_both_have():
    curves = script("quality_curves")
    for seed, losses in enumerate(([6.6, 6.4, 6.2, 6.1], [6.8, 6.6, 6.2, 6.1])):
        kept("BERT", losses, seed=seed)
        kept("narrow 2", [loss - 0.1 - 0.002 * seed for loss in losses], seed=seed)
    kept("BERT", [5.0, 5.0, 5.0, 5.0], seed=2)
    found = curves.beside("zz", "narrow 2", 20.0)
    assert found.seeds == 2 and all(one.lead == pytest.approx(0.101) for one in found.leads)


# losses


def test_the_margin_is_students_interval_of_a_difference():
    made = script("quality_record").Spread(deviation=0.01, freedom=4)
    assert made.margin(1, 1) == pytest.approx(2.776 * 0.01 * math.sqrt(2), rel=1e-3)
    assert made.margin(3, 3) == pytest.approx(2.776 * 0.01 * math.sqrt(2 / 3), rel=1e-3)


def test_the_spread_is_pooled_over_arms_that_count():
    spread = script("quality_record").spread
    assert spread("zz") is None
    for seed, end in enumerate((6.0, 6.02)):
        kept("BERT", [6.1, end], seed=seed)
    for seed, end in enumerate((5.9, 5.96)):
        kept("narrow 2", [6.0, end], seed=seed)
        kept("GroupBERT", [6.9, 6.5 + seed], seed=seed)  # does not count
    found = spread("zz")
    assert found.freedom == 2 and found.deviation == pytest.approx(math.sqrt((0.0002 + 0.0018) / 2))
    assert "BERT 6.010 (2, 20 min)" in script("quality_verdicts").deviations("zz")


def test_fewer_layers_are_ahead_of_all_only_beyond_the_seeds():
    lowest = script("quality_verdicts").lowest
    kept("BERT", [6.2, 6.1])
    kept("narrow 2", [6.1, 6.0])
    kept("narrow 1", [6.2, 6.1])
    assert lowest("zz") == [
        "Lowest loss after 20 minutes, of 1 seed: narrow 2, 6.000, before BERT by 0.100 (seeds not measured)."
    ]
    kept("BERT of 3 layers", [6.0, 5.99])
    settled(apart=0.01)
    said = lowest("zz")
    assert "BERT of 3 layers, 5.990, before narrow 2 by 0.010, 1.4 deviations of a seed (within the seeds)." in said[0]
    assert said[1].startswith("Lowest loss of a combination") and "narrow 2, 6.000, before narrow 1 by 0.100" in said[1]
    kept("BERT of 3 layers", [6.0, 5.8])
    assert lowest("zz")[0].endswith("(ahead): **a BERT with fewer layers is ahead of all.**")


def test_controls_stand_beside_narrow_arms_with_their_speed():
    pairs = script("quality_verdicts").pairs
    seconds = {"BERT": 1.0, "narrow 1": 0.4, "BERT of 3 layers": 0.5}
    updates = {label: {"median": one, "seconds": [one, one]} for label, one in seconds.items()}
    keep("speeds", {"updates": updates, "tokens": 8192})
    kept("narrow 1", [6.1, 6.0])
    kept("BERT of 3 layers", [6.2, 6.05])
    settled()
    said = "narrow 1 (20,480 tokens/s) beside BERT of 3 layers (16,384 tokens/s): loss 6.000 and 6.050, ahead."
    assert pairs("zz") == [said]


def test_widths_have_a_verdict_where_all_count_and_rates_were_tried_long_enough():
    per_flop, first = script("quality_verdicts").per_flop, "each at its best rate): "
    assert per_flop("zz").endswith(f"{first}not measured.")
    for dim in (128, 192, 256):
        width(dim, 6.2, 6.1)
    assert f"{first}no verdict; width 128: 6.100 beside 6.200, seeds not measured (" in per_flop("zz")
    settled()
    assert f"{first}holds here; width 128: 6.100 beside 6.200, ahead (" in per_flop("zz")
    width(256, 6.2, 6.195)
    assert f"{first}does **not** hold here" in per_flop("zz") and "6.195 beside 6.200, within the seeds" in per_flop(
        "zz"
    )
    width(256, 6.4, 6.2)
    assert f"{first}no verdict" in per_flop("zz") and "6.200 beside 6.400, not counted" in per_flop("zz")
    width(256, 6.2, 6.1, tried=6.8)
    assert f"{first}no verdict" in per_flop("zz") and "its rates were tried too briefly" in per_flop("zz")


# scores


def test_a_quarter_of_the_time_is_judged_task_by_task():
    quarter, tasks = script("quality_verdicts").quarter, script("quality_tasks").FIVE
    long, short = kept("BERT", [6.0], given=60.0), kept(CONVBERT, [9.0], given=15.0)
    scored(long, 0.8, tasks=tasks)
    assert quarter("zz").endswith("beside BERT): not measured.")
    scored(short, 0.79, tasks=tasks)  # a point lower, which the intervals do not tell
    assert "holds here, behind on none; SST-2 -1.0, " in quarter("zz")
    assert quarter("zz").endswith("mean 79.0 after 15 minutes, 80.0 after 60, one seed.")
    scored(short, 0.7, tasks=tasks[1:2])
    assert f"does **not** hold here, behind on {tasks[1]};" in quarter("zz")
    kept("BERT", [6.4], given=60.0)
    assert quarter("zz").endswith("no verdict, since BERT does not count after 60 minutes.")


def test_narrow_encoders_are_judged_task_by_task():
    by_task, tasks = script("quality_verdicts").by_task, script("quality_tasks").FIVE
    bert, narrow = kept("BERT", [6.0]), kept("narrow 2", [6.1])
    scored(bert, 0.8, tasks=(*tasks, "SQuAD"))
    scored(narrow, 0.79, tasks=tasks[:-1])
    scored(narrow, 0.7, tasks=(tasks[-1], "SQuAD"))
    assert "not behind on sentences, hurt on CoNLL-2003, SQuAD; SST-2 -1.0, " in by_task("zz")[0]
    assert script("quality_verdicts").questions("zz") == []
    scored(narrow, 0.7, tasks=tasks[:1])
    assert "**behind on sentences**" in by_task("zz")[0]
    scored(kept(CONVBERT, [9.0]), 0.9, tasks=tasks)
    assert f"20 min, {CONVBERT} 0 beside BERT: not behind on sentences; SST-2 +10.0 (ahead)" in by_task("zz")[1]
    kept("narrow 2", [6.5])
    assert by_task("zz")[0] == "20 min, narrow 2 0 beside BERT: no verdict, one of them does not count."
    script("quality_report").write("zz")
    assert (script("records").RECORDS / "zz" / "curve.png").stat().st_size > 10_000
