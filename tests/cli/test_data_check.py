"""`data check`: a report that fits 80 columns, one JSON document, and an exit code that a script can use."""

from pathlib import Path

import pytest

from cli.project import Slimbert, write_csv
from jobs.labelled_files import clean, clean_pairs, folder, write


def test_clean_data_ends_with_0_and_says_what_comes_next(tmp_path: Path, slimbert: Slimbert):
    path = write(tmp_path / "a.csv", clean())
    made = slimbert("data", "check", path)
    assert (
        made.code == 0
        and "nothing here would mislead\n" in made.out
        and f"slimbert finetune ENCODER {path}" in made.out
    )
    made = slimbert("data", "check", path, "--json")
    assert made.code == 0 and made.json["findings"] == [] and made.json["misleads"] is False
    assert made.json["splits"][0]["labels"] == {"bad": 100, "good": 100}


def test_what_comes_next_has_the_same_columns(tmp_path: Path, slimbert: Slimbert):
    rows = [{"the text": row["text"], "MY LABEL": row["label"], "label": "all alike"} for row in clean()]
    path = write(tmp_path / "a.csv", rows)
    made = slimbert("data", "check", path, "--label-column", "MY LABEL", "--task", "classification")
    assert made.code == 0 and f"{path} --label-column 'MY LABEL' --task classification --out runs/b" in made.out
    pairs = write(tmp_path / "b.csv", [row | {"number": i} for i, row in enumerate(clean_pairs())])
    options = ("--text-column", "sentence1", "--text-column", "sentence2")
    assert f"{pairs} {' '.join(options)} --out" in slimbert("data", "check", pairs, *options).out


def test_data_that_fine_tuning_refuses_ends_with_2(tmp_path: Path, slimbert: Slimbert):
    """No command is called the next one that would fail at once."""
    path = write(tmp_path / "a.csv", [*clean(), {"text": "one more", "label": "Good"}])
    made = slimbert("data", "check", path)
    assert made.code == 2 and made.err == "" and "finetune ENCODER" not in made.out and "would mislead" not in made.out
    last = made.out.partition("fine-tuning refuses this data, first for:\n")[2]
    said = f"{path}:row 201: label 'Good', and 'good' before: they differ only in case; write a label one way"
    assert " ".join(last.split()) == said
    made = slimbert("data", "check", path, "--json").json
    assert made["refused"] == said and made["misleads"] is False
    assert [(found["kind"], found["severity"], found["refused"]) for found in made["findings"]] == [
        ("rare", "warning", False),
        ("spelt", "warning", True),
    ]
    refused = slimbert("finetune", tmp_path / "encoder", path, "--out", tmp_path / "run")
    assert refused.code == 2 and said in refused.err
    both = folder(tmp_path / "data", train=[*clean(), {"text": "one more", "label": ""}], test=clean(50))
    made = slimbert("data", "check", both)
    assert made.code == 2 and "training on this would mislead:\n" in made.out and "first for:\n" in made.out


def test_data_that_misleads_ends_with_2(tmp_path: Path, slimbert: Slimbert):
    train, test = clean(), clean(90, seed=1)
    path = folder(tmp_path / "data", train=train, test=[*test, *train[:10]])
    made = slimbert("data", "check", path)
    assert made.code == 2 and made.err == ""
    for words in (
        "misleads",
        "test rows that",
        "- train.csv:row 1 'bad'\n      test.csv:row 91 'bad'",
        "50.0%",
        "longer: than max_len (256)",
    ):
        assert words in made.out, made.out
    assert made.out.endswith("training on this would mislead:\n  test rows that stand in train\n")
    made = slimbert("data", "check", path, "--json")
    assert made.code == 2 and made.json["misleads"] is True
    (found,) = made.json["findings"]
    assert (found["kind"], found["severity"], found["rows"], found["share"]) == ("leakage", "misleads", 10, 0.1)
    assert len(found["examples"]) == 5 and found["examples"][0][1]["place"] == f"{path / 'test.csv'}:row 91"


def test_everything_fits_80_columns(tmp_path: Path, slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        *clean(150),
        *clean(20),
        {"text": "Ã¤ \ufffd\x07" + "word " * 300, "label": "Good "},
        {"text": "", "label": ""},
    ]
    rows += [{"text": f"row {i} of many labels", "label": f"a label with a long name, number {i}"} for i in range(30)]
    folder(
        Path("data"), train=rows, validation=clean(50) + clean(9, seed=3), test=[*clean(30, seed=1), rows[0], rows[-1]]
    )
    made = slimbert("data", "check", "data")
    assert made.code == 2 and "row 172" in made.out
    for line in made.out.splitlines():
        assert len(line) <= 80 and line.isprintable(), line


def test_options(toy: Path, slimbert: Slimbert):
    words = ("data", "check", toy / "reviews.csv", "--text-column", "text", "--label-column", "label", "--json")
    made = slimbert(*words, "--tokenizer", toy / "tok", "--max-len", 5).json
    assert made["unit"] == "tokens" and made["splits"][0]["lengths"]["cut_share"] == 1.0
    assert "longer than 5 tokens" in [finding["title"] for finding in made["findings"]]


def test_bad_usage(tmp_path: Path, slimbert: Slimbert):
    path = write_csv(tmp_path / "a.csv", ["text", "label"], [["good", "pos"], ["bad", "neg"]])
    for words, said in (
        ((tmp_path / "b.csv",), "no such file"),
        ((path, "--text-column", "title"), "no column 'title'"),
        ((path, "--label-column", "mood"), "no column 'mood'"),
        ((path, "--tokenizer", tmp_path / "tok"), "no such tokenizer folder"),
        ((path, "--max-len", 0), "--max-len"),
    ):
        made = slimbert("data", "check", *words)
        assert made.code == 2 and made.out == "" and made.err.startswith("error: ") and said in made.err
