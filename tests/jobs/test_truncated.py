"""The first layers of an encoder, made as the page of adaptive depth says, and fine-tuned like any other."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.small import encoder_in
from slimbert.jobs.finetune import finetune
from slimbert.jobs.predict import load
from slimbert.model import load_model

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods" / "adaptive-depth.md"
QUICK = ("min_updates=8", "epochs=1", "evaluations=1", "batch_size=16")


def test_a_truncated_encoder_is_made_as_the_page_says_and_fine_tuned(
    data: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    [block] = [
        one for one in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "Subnet(layers=" in one
    ]
    encoder_in(tmp_path / "runs" / "encoder", data, "4{sf}")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, PAGE.name, "exec"), {})
    whole, three = load_model("runs/encoder"), load_model("runs/three")
    assert three.config.encoder.layers == whole.config.encoder.layers[:3]
    before: Any = whole.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in three.state_dict().items())
    finetune("runs/three", reviews, out="runs/tuned", settings=QUICK, with_baselines=False, device="cpu", quiet=True)
    tuned = load_model("runs/tuned")
    assert tuned.config.encoder.points() == 3
    name = "encoder.layers.2.0.mixer.out.weight"
    assert not torch.equal(tuned.state_dict()[name], before[name])
    assert load("runs/tuned", device="cpu").predict(["bama ba"])[0].label in ("negative", "positive")
