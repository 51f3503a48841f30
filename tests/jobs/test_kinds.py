"""Every table that knows kinds of tasks, answers or heads by name knows all of them."""

from pathlib import Path
from typing import get_args

import pytest

from slimbert.cli import main
from slimbert.data.tasks import KINDS as SHAPES
from slimbert.jobs import card
from slimbert.jobs.pipeline import HEADS
from slimbert.jobs.tasks import KINDS
from slimbert.model.folder import ARCHITECTURES, PROBLEMS
from slimbert.model.heads import Answer


def test_kinds(root: Path, capsys: pytest.CaptureFixture[str]):
    """Their shapes of labels, their cards, the help of --task, the table of the page."""
    assert set(SHAPES) == set(KINDS) and set(KINDS) <= set(card.KINDS)
    assert main(["finetune", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{', '.join(KINDS)}, or a benchmark" in said
    page = (root / "docs" / "fine-tuning.md").read_text().partition("\n## Tasks\n")[2].partition("\n## ")[0]
    assert [kind for kind in KINDS if f"| `{kind}` (" not in page and f", `{kind}` (" not in page] == []


def test_answers_and_heads():
    """What transformers calls them, and the pipelines."""
    assert set(PROBLEMS) == set(get_args(Answer))
    assert set(ARCHITECTURES) == {head for head in HEADS.values() if head is not None}
