"""The jobs on a GPU: bfloat16, compiled, fused attention. Skipped where there is none."""

import json
from pathlib import Path

import pytest
import torch

from slimbert.data.prepare import prepare
from slimbert.data.tokenizer import TextTokenizer
from slimbert.jobs.finetune import finetune
from slimbert.jobs.predict import load
from slimbert.jobs.pretrain import pretrain
from slimbert.model import ModelConfig, fresh, presets
from slimbert.model.heads import MaskedLmConfig
from slimbert.parts.core import use_core

pytestmark = pytest.mark.gpu
TEXTS = [
    f"the {colour} {animal} sees {n} trees" for n in range(40) for colour in ("red", "old") for animal in ("fox", "cow")
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("\n\n".join(TEXTS))
    TextTokenizer.train(TEXTS, 80).save(tmp_path / "tok")
    prepare([tmp_path / "text.txt"], tmp_path / "tok", seq_len=32, out=tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("compiled", [False, True])
def test_pretrain_finetune_predict(data: Path, tmp_path: Path, compiled: bool) -> None:
    recipe = {
        "model": {"encoder": {"pattern": "2{sf}", "dim": 64, "head_dim": 32}},
        "train": {"steps": 30, "batch_size": 16, "compile": compiled},
    }
    pretrain(recipe, data=data, out=tmp_path / "run", device="cuda", quiet=True)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < losses[0]
    with open(tmp_path / "labelled.csv", "w") as file:
        file.write("text,label\n" + "".join(f"{text},{'fox' in text}\n" for text in TEXTS))
    finetune(tmp_path / "run", tmp_path / "labelled.csv", out=tmp_path / "b", device="cuda", quiet=True)
    answers = load(tmp_path / "b", device="cuda").predict(["the red fox sees 3 trees", "the old cow sees 3 trees"])
    assert [answer.label for answer in answers] == ["True", "False"]


@pytest.mark.parametrize("core", ["sdpa", "flex"])
def test_cores_agree_on_a_gpu(core: str) -> None:
    encoder = presets.from_pattern("2{sf}", dim=64, head_dim=32, vocab=50, max_len=64)
    model = fresh(ModelConfig(encoder=encoder, head=MaskedLmConfig()), 0).to("cuda").eval()
    ids = torch.randint(50, (3, 64), generator=torch.Generator().manual_seed(0)).to("cuda")
    mask = torch.arange(64, device="cuda") < torch.tensor([[64], [40], [9]], device="cuda")
    use_core(model, "explicit")
    plain = model(ids, mask=mask)
    use_core(model, core)  # type: ignore[arg-type]
    torch.testing.assert_close(model(ids, mask=mask)[mask], plain[mask], rtol=1e-3, atol=1e-3)  # TF32 products
