"""The model card says what a run came from and came to, and its lines work from where it was made."""

from pathlib import Path

from slimbert.jobs.card import write_card

MODEL = {"encoder": {"dim": 32, "layers": [{"kind": "layer", "mix": []}, {"kind": "narrow"}]}}
SCORE = {"rows": 200, "accuracy": 0.75, "accuracy_low": 0.6857, "accuracy_high": 0.8048, "macro_f1": 0.7421}


def card(folder: Path, result: dict, **recipe: object) -> str:
    write_card(folder, result, recipe={"model": MODEL, **recipe})
    return (folder / "README.md").read_text()


def test_classifier(tmp_path: Path):
    result = {"run": "r", "kind": "classification", "labels": ("bad", "a|b"), "updates": 1500, "validation": SCORE}
    others = {"majority class": SCORE | {"accuracy": 0.5}}
    rows = {"train": 1600, "validation": 200}
    text = card(tmp_path, result | {"test": SCORE, "baselines": others}, encoder="models/minilm", rows=rows)
    for line in (
        "| encoder | models/minilm |",
        "| labels | bad, a\\|b |",
        "| rows | 1,600 train, 200 validation |",
        "| updates | 1,500 |",
        "| scored on | 200 rows of test |",
        "| accuracy | 0.750, 95% interval 0.686 to 0.805 |",
        "| macro F1 | 0.7421 |",
        "| accuracy of majority class | 0.5 |",
        "| layers | 1 |",
        f'slimbert.load("{tmp_path}").predict(["some text"])',
        f'`AutoModelForSequenceClassification.from_pretrained("{tmp_path}")`',
    ):
        assert line in text
    assert "| scored on | 200 rows of validation |" in card(tmp_path, result | {"test": None, "baselines": {}})
    assert 'predict([("first text", "second text")])' in card(tmp_path, result | {"kind": "pair", "texts": 2})


def test_masked_language_model(tmp_path: Path):
    result = {"run": "r", "steps": 20, "tokens": 40960, "seconds": 1.5, "loss": 3.25, "val_loss": None}
    text = card(tmp_path, result)
    assert "| tokens | 40,960 |" in text and "| loss of the last update | 3.25 |" in text and "None" not in text
    assert f'slimbert.finetune("{tmp_path}", "reviews.csv"' in text


def test_a_model_that_detects_replaced_tokens(tmp_path: Path):
    result = {"run": "r", "steps": 20, "tokens": 40960, "seconds": 1.5, "loss": 30.5, "val_loss": 29.5}
    text = card(tmp_path, result, objective={"kind": "replaced_tokens"})
    assert "tells replaced tokens from original ones" in text and "fill-mask" not in text
    assert f'`AutoModel.from_pretrained("{tmp_path}")`' in text
    assert "masked language model" in card(tmp_path, result, objective={"kind": "masked_lm"})
