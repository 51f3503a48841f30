"""What the tests of quality for time share: the scripts at toy size, records in a temporary folder, speeds by hand."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from slimbert.train.run import RunFolder
from test_benchmarks import BENCHMARKS, MACHINE

SECONDS = {"BERT": 0.03, "narrow 1": 0.015, "ConvBERT finding replaced tokens": 0.045, "BERT, width 48": 0.06}


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def begin(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The scripts can be imported and keep their records in a temporary folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(script("records"), "RECORDS", folder / "records")
    monkeypatch.setattr(script("records"), "environment", lambda measure=False: dict(MACHINE))


def shrink(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with toy sizes; every run counts."""
    shapes = script("quality_arms").SHAPES
    monkeypatch.setitem(shapes, "quality", replace(shapes["quality"], dim=32, head_dim=16))
    minutes = {"screening": 0.003, "long": 0.006, "widths": {"32": 0.003, "48": 0.003}}
    changed: dict[str, dict[str, Any]] = {
        "quality": {"WIDTHS": (32, 48), "SEEDS": 2, "MINUTES": minutes},
        "quality_arms": {"BATCH": 8, "EVALUATE": 2, "CHECKPOINT": 1000},
        "quality_record": {"ENOUGH": -100.0},
        "quality_report": {"draw": lambda name: None},  # a second each time; see test_quality_verdicts
        "quality_speeds": {"BATCH": 8, "ROUNDS": 2, "PASSES": 1, "gemm_tflops": lambda dtype, device: 0.1},
        "quality_tasks": {"SETTINGS": ("epochs=1", "windows=cut", "min_updates=2", "evaluations=1")},
        "quality_widths": {"RATES": (1e-3,), "FURTHER": 0},
    }
    for name, values in changed.items():
        for constant, value in values.items():
            monkeypatch.setattr(script(name), constant, value)
    monkeypatch.setattr(RunFolder, "plot", lambda self: None)
    return script("quality")


def results(folder: Path, name: str = "zz") -> dict[str, Any]:
    return json.loads((folder / "records" / name / "result.json").read_text())


def timed(name: str = "zz") -> None:
    """Speeds for a record: SECONDS an update, else 0.03."""
    arms = script("quality_arms")
    labels = arms.sized(arms.SHAPES["quality"], (32, 48))
    each = {label: {"median": SECONDS.get(label, 0.03), "seconds": [SECONDS.get(label, 0.03)] * 3} for label in labels}
    speeds = {"updates": each, "validations": each, "intervals": {label: [0.9, 1.1] for label in labels}}
    about = {
        "tokens": 128,
        "precision": "float32",
        "gemm_tflops": [0.1, 0.1],
        "multiply_adds": dict.fromkeys(labels, 1.0),
    }
    script("records").keep(name, "speeds", about | speeds)
