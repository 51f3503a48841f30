"""Fixtures of search: a toy encoder, a corpus, an index of it."""

import csv
import json
from pathlib import Path

import pytest

from jobs.search.toy import encoder, judge, texts
from slimbert.jobs.search.build import index


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder(tmp_path_factory.mktemp("encoder") / "m")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of pairs: no, yes."""
    return judge(tmp_path_factory.mktemp("judge") / "m")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a.csv with ids k0..k29, b.txt with 20 documents, c.jsonl with 10 of which one is blank."""
    folder = tmp_path_factory.mktemp("corpus")
    found = texts(60)
    with open(folder / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *((f"k{i}", text) for i, text in enumerate(found[:30]))])
    (folder / "b.txt").write_text("\n\n".join(found[30:50]))
    lines = [json.dumps({"text": " " if i == 4 else text}) for i, text in enumerate(found[50:])]
    (folder / "c.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, model: Path, corpus: Path) -> Path:
    """The index of the corpus; not to be changed."""
    folder = tmp_path_factory.mktemp("built") / "index"
    index(model, corpus, out=folder, device="cpu", quiet=True)
    return folder
