"""Pipelines: transformers' own on our folders answer as `load(...).predict` does; what does not fit is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import slimbert
from jobs.small import GOOD, NEITHER, labelled
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError
from slimbert.jobs.finetune import finetune
from slimbert.jobs.predict import Predictor, load
from slimbert.model import ModelConfig, fresh, presets, save_model
from slimbert.model.heads import MaskedLmConfig

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
TEXTS = [f"{NEITHER[0]} {GOOD[0]}", f"{NEITHER[1]}", f"{GOOD[1]} {NEITHER[2]} {GOOD[2]} {NEITHER[0]}"]
SETTINGS = ("min_updates=20", "epochs=1", "evaluations=1", "lr=1e-3", "max_len=24", "windows=cut")


def tuned(encoder: Path, folder: Path, data: Path, *settings: str, **options: Any) -> Predictor:
    """A run in folder/run, opened."""
    options = {"device": "cpu", "quiet": True, "with_baselines": False, **options}
    made = finetune(encoder, data, out=folder / "run", settings=(*SETTINGS, *settings), **options)
    return load(made.run, device="cpu")


def test_classes(encoder: Path, tmp_path: Path):
    """1e-5: another order of sums in float32. A text of any length is cut, not refused."""
    ours = tuned(encoder, tmp_path, labelled(tmp_path / "a.csv"))
    pipe = slimbert.pipeline("text-classification", tmp_path / "run", device="cpu")
    for theirs, mine in zip(pipe(TEXTS), ours.predict(TEXTS), strict=True):
        assert theirs["label"] == mine.label
        assert theirs["score"] == pytest.approx(mine.score, abs=1e-5)
    long = " ".join(NEITHER * 50)
    assert pipe(long)[0]["label"] in ("negative", "positive")
    tuned(encoder, tmp_path / "short", tmp_path / "a.csv", "max_len=8")
    cut = slimbert.pipeline("text-classification", tmp_path / "short" / "run", device="cpu")(long)[0]
    assert cut["score"] == pytest.approx(load(tmp_path / "short" / "run").predict([long])[0].score, abs=1e-5)
    again = slimbert.pipeline("sentiment-analysis", tmp_path / "run", device="cpu")
    assert again(TEXTS) == pipe(TEXTS)


def test_pairs(encoder: Path, tmp_path: Path):
    ours = tuned(encoder, tmp_path, labelled(tmp_path / "a.csv", pairs=True))
    pipe = slimbert.pipeline("text-classification", tmp_path / "run", device="cpu")
    theirs = pipe([{"text": TEXTS[0], "text_pair": TEXTS[1]}])[0]
    mine = ours.predict([(TEXTS[0], TEXTS[1])])[0]
    assert (theirs["label"], theirs["score"]) == (mine.label, pytest.approx(mine.score, abs=1e-5))


def test_several_labels_and_numbers(encoder: Path, tmp_path: Path):
    texts = [f"{NEITHER[i % 7]} {NEITHER[i % 5]} {GOOD[i % 3]}" for i in range(70)]
    sets = [["a"] * (i % 2) + ["b"] * (i % 3 == 0) for i in range(70)]
    for name, columns in (("sets", {"labels": sets}), ("numbers", {"score": [i / 7 for i in range(70)]})):
        pq.write_table(pa.table({"text": texts, **columns}), tmp_path / f"{name}.parquet")
        ours = tuned(encoder, tmp_path / name, tmp_path / f"{name}.parquet")
        pipe = slimbert.pipeline("text-classification", tmp_path / name / "run", device="cpu")
        for theirs, mine in zip(pipe(TEXTS, top_k=None), ours.predict(TEXTS), strict=True):
            found = {one["label"]: one["score"] for one in theirs}
            assert found == pytest.approx(mine.scores if name == "sets" else {"score": mine.value}, abs=1e-4)


def test_masks_and_features(data: Path, tmp_path: Path):
    tokenizer = TextTokenizer.load(Shards.open(data).tokenizer_folder)
    config = presets.from_pattern("2{sf}", dim=32, head_dim=16, vocab=tokenizer.vocab_size, max_len=24)
    save_model(fresh(ModelConfig(encoder=config, head=MaskedLmConfig()), 0), tmp_path)
    tokenizer.save(tmp_path)
    ours = load(tmp_path, device="cpu")
    text = f"{NEITHER[0]} [MASK] {NEITHER[1]}"
    theirs = slimbert.pipeline("fill-mask", tmp_path, device="cpu")(text, top_k=3)
    assert [one["score"] for one in theirs] == pytest.approx([one.score for one in ours.fill(text, top=3)[0]], abs=1e-6)
    states = np.array(slimbert.pipeline("feature-extraction", tmp_path, device="cpu")(TEXTS[0])[0])
    np.testing.assert_allclose(states.mean(axis=0), ours.embed([TEXTS[0]])[0], atol=1e-5)
    long = slimbert.pipeline("feature-extraction", tmp_path, device="cpu")(" ".join(NEITHER * 50))[0]
    assert len(long) == 24
    for task, head in (("text-classification", "masked_lm"), ("question-answering", "masked_lm")):
        with pytest.raises(InputError, match=rf"its head \({head}\) is not for {task}; it can do fill-mask, feature-e"):
            slimbert.pipeline(task, tmp_path)


def test_vectors(encoder: Path, tmp_path: Path):
    rows = {"query": [f"{word} a{i}" for i, word in enumerate(NEITHER * 8)], "passage": [f"b{i}" for i in range(56)]}
    pq.write_table(pa.table({name: some[:56] for name, some in rows.items()}), tmp_path / "a.parquet")
    ours = tuned(encoder, tmp_path, tmp_path / "a.parquet")
    near = slimbert.pipeline("sentence-similarity", tmp_path / "run", device="cpu")
    expected = [one.similarity for one in ours.predict([(TEXTS[0], text) for text in TEXTS])]
    assert near(TEXTS[0], TEXTS) == pytest.approx(expected, abs=1e-5)
    assert near(TEXTS[0], TEXTS)[0] == pytest.approx(1, abs=1e-5)
    assert near(TEXTS[0], []) == []
    with pytest.raises(InputError, match="one string instead of a list"):
        near(TEXTS[0], TEXTS[1])
    assert slimbert.pipeline("sentence-similarity", encoder, device="cpu")(TEXTS[0], TEXTS[:1]) == pytest.approx([1])


def test_what_is_no_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="pipeline 'translation': no such task; choose one of text-classification, "):
        slimbert.pipeline("translation", tmp_path)
    monkeypatch.setattr("slimbert.jobs.pipeline.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'it needs transformers; pip install "slimbert\[hf\]"'):
        slimbert.pipeline("fill-mask", "some/name")
