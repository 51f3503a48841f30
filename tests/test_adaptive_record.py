"""The text of the record of adaptive depth, of a record that is partly there: what it says, and on how many seeds."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_benchmarks import BENCHMARKS, MACHINE


def row(depth: str, macs: float, share: float) -> dict[str, Any]:
    """A depth at which so many of 80 rows are right."""
    digits = importlib.import_module("depth_verdicts").packed(np.arange(80) < 80 * share)
    known = {"over_full": [0, 0, 0], "otherwise": 0, "guaranteed": depth in ("full", "safe"), "right": digits}
    known |= {"mean_depth": macs / 20}
    return {"depth": depth, "score": share, "macs_per_text": macs, "macs_share": macs / 100, **known}


def adaptive(score: float, *, whole: float = 100) -> dict[str, Any]:
    """A run that loses 2 points at half the multiply-adds; validation says the same."""
    depths = {"full": (1.0, 0.0), "safe": (0.8, 0.0), "kappa=0.1": (0.4, 0.02)}
    rows = [row(word, whole * share, score - loss) for word, (share, loss) in depths.items()]
    return {"rows": 80, "points": rows, "validation": [{**one} for one in rows]}


def test_the_text_says_what_is_there_and_on_how_many_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    records, made = importlib.import_module("records"), importlib.import_module("depth_text")
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    monkeypatch.setattr(records, "environment", lambda measure=False: dict(MACHINE))
    monkeypatch.setattr(importlib.import_module("depth_tables"), "draw", lambda name, file, ground, chart: None)

    def said(**kept: Any) -> str:
        for key, value in kept.items():
            records.keep("zz", key.replace("_", " "), value)
        arms = ("dense", "DACT", "truncated 2", "truncated 3", "entropy", "dense, cls", "DACT, cls")
        return made.text("zz", 3, arms=arms, others=("sst2",), combined=("dense", made.COMBINED)).markdown

    dense = {"rows": 80, "points": [row("full", 100, 0.9)]}
    assert "The dense arm is not complete yet" in said(settings={})
    assert "| dense, full | 90.00 |" in said(qnli_dense_0=dense)
    text = said(qnli_DACT_0=adaptive(0.9))
    assert "Score with 50% of the multiply-adds by validation (safe and kappa=0.1; 50.0% on the test), one seed" in text
    assert "Score with 75% of the multiply-adds by validation (safe and kappa=0.1; 75.0% on the test), one seed" in text
    assert "The safe rule over 80 answers of 1 run(s): 0 other than in full depth: the law holds." in text
    shallow = {"rows": 80, "points": [row("full", 40, 0.7)]}
    text = said(qnli_truncated_2_0=shallow, qnli_dense_1=dense, qnli_DACT_1=adaptive(0.85))
    assert "from 40% to 100% of the multiply-adds, one seed" in text and "encoders of 2 and all layers" in text
    assert "(safe and kappa=0.1; safe and kappa=0.1; 50.0% on the test), 2 seeds" in text
    assert "| truncated 2, full | 70.00 | 40.0% |  |  | 2.00 | 1 |" in text
    text = said(**{f"qnli_{made.COMBINED}_0".replace(" ", "_"): adaptive(0.9, whole=50)})
    assert f"{made.COMBINED}, at the depth that validation chose (safe), one seed" in text
    assert "2.50 times fewer multiply-adds, goal 3.5: **short**; ms beside dense not taken yet" in text
    turns = {"dense, full": [4.2, 2.1, 8.4], f"{made.COMBINED}, safe": [2.0, 1.0, 4.0], "DACT, safe": [1.5, 1.7, 1.6]}
    text = said(clock_chart={"32": turns, "1": turns})
    assert "2.10 times fewer ms (2.10 to 2.10) in batches of 32, in turn with dense, seed 0, goal 2: reached" in text
    assert "| 80.0% | 1.60 | 1.60 | 4.00 | 2 |" in text
    first = {"rows": 80, "points": [row("full", 86, 0.9)]}
    text = said(**{"qnli_dense,_cls_0": first, "qnli_DACT,_cls_0": adaptive(0.9, whole=90)})
    assert "2.50 times fewer multiply-adds (2.15 beside `dense, cls`, seed 0), goal 3.5: **short**" in text
    assert "over these, where either side may also read the first token alone (cls)" in text
    wrong = adaptive(0.9)
    wrong["points"][1]["otherwise"] = 1
    assert "320 answers of 4 run(s): 1 other than in full depth: **the law is broken**" in said(qnli_DACT_1=wrong)
