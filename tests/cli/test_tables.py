"""What a person is shown of a fine-tuning run, and that the pages of the tasks show the same."""

import re
from pathlib import Path
from typing import Any

import pytest

from slimbert.cli import output, tables
from slimbert.jobs.finetuned import Finetuned
from slimbert.jobs.tasks import KINDS

PAGES = sorted((Path(__file__).parents[2] / "docs" / "tasks").glob("*.md"))
SCORE = {"rows": 24, "accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 1.0}
READ_WHOLE = {"tagging": "ner", "question-answering": "qa"}  # pages of kinds that lose nothing of a text


def shown(capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    """As the command shows it."""
    plain = {"run": "runs/b", "kind": "classification", "metric": "accuracy", "texts": 1, "labels": ("bad", "good")}
    rest = {"updates": 30, "seconds": 79.0, "validation": SCORE, "test": SCORE, "baselines": {}, "cut_share": 0.25}
    made = Finetuned(**{**plain, **rest, "notes": (), **changes})
    with output.results(False) as show:
        show(made, *tables.finetuned(made))
    return capsys.readouterr().out


def test_texts_that_are_longer_are_counted_where_that_means_something(capsys: pytest.CaptureFixture[str]):
    assert re.search(r"^longer than max_len  25\.0% *$", shown(capsys), re.M)
    for kind in KINDS:
        assert ("longer than max_len" in shown(capsys, kind=kind)) == (kind not in ("ner", "qa")), kind


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "\nupdates " in page.read_text()], ids=lambda page: page.stem
)
def test_the_pages_show_what_is_printed(page: Path, capsys: pytest.CaptureFixture[str]):
    """The names below the table, as wide as they are."""
    found = re.search(r"^run {2,}.*?(?=^```)", page.read_text(), re.S | re.M)
    assert found is not None
    labels = ("bad", "good") if "\nlabels " in found[0] else ()
    printed = shown(capsys, kind=READ_WHOLE.get(page.stem, "classification"), labels=labels)
    block = re.search(r"^run {2,}.*?(?=^next)", printed, re.S | re.M)
    assert block is not None
    named = [re.split(r"(?<=\S)( {2,})", line.rstrip())[:2] for line in found[0].strip().splitlines()]
    assert named == [re.split(r"(?<=\S)( {2,})", line.rstrip())[:2] for line in block[0].strip().splitlines()]
