"""Calibrating a run that tags: it reads the files that the run reads, and knows again what the run was trained on."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.small import BAD, encoder_in
from jobs.test_token_tasks import sentences, write
from slimbert.data.tasks import load_task
from slimbert.errors import InputError
from slimbert.jobs.depth import calibrate as calibration
from slimbert.jobs.depth.calibrate import calibrate
from slimbert.jobs.finetune import finetune

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
HERE: dict[str, Any] = {"device": "cpu", "quiet": True, "with_baselines": False}
STOPS = ("halting.method=dact", "halting.ramp=0", "min_updates=4", "epochs=1", "evaluations=1")


def lists(path: Path, seed: int) -> Path:
    """A list of words and a list of tags in each row."""
    tokens, tags = sentences(60, seed=seed)
    return write(path.with_suffix(".parquet"), tokens=tokens, ner_tags=tags)


def marked(path: Path, seed: int) -> Path:
    """A text and its marked spans in each row."""
    rows = []
    for words in sentences(60, seed=seed)[0]:
        starts = [len(" ".join([*words[:i], ""])) for i in range(len(words))]
        spans = [(start, start + len(word)) for start, word in zip(starts, words, strict=True) if word in BAD]
        found = [{"start": start, "end": end, "label": "PER"} for start, end in spans]
        rows.append(json.dumps({"text": " ".join(words), "entities": found}))
    made = path.with_suffix(".jsonl")
    made.write_text("\n".join(rows) + "\n")
    return made


@pytest.mark.parametrize("form", [lists, marked])
def test_tags_are_calibrated_on_what_the_run_does_not_know(
    form: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(calibration, "LEAST_ROWS", 50)
    train, held = form(tmp_path / "train", 0), form(tmp_path / "held", 1)
    run = tmp_path / "run"
    made = finetune(encoder_in(tmp_path / "encoder", data, "2{sf}"), train, out=run, settings=STOPS, **HERE)
    assert made.kind == "ner"
    known = len(load_task(train).train)
    with pytest.raises(InputError, match=rf"{known} of its 60 rows are rows that the run was trained on"):
        calibrate(run, train, disagree=0.1, device="cpu")
    found = calibrate(run, held, disagree=0.1, device="cpu")
    assert found.rows == 60
    assert json.loads((run / calibration.CALIBRATION).read_text())["kappa"] == found.kappa
    if form is marked:  # the texts alone
        texts = [json.loads(line)["text"] for line in train.read_text().splitlines()]
        (tmp_path / "train.txt").write_text("\n".join(texts) + "\n")
        with pytest.raises(InputError, match=rf"{known} of its 60 rows are rows"):
            calibrate(run, tmp_path / "train.txt", disagree=0.1, device="cpu")
