"""index and search: what a person and a program see, and one line for everything that is wrong."""

import json
import shutil
from pathlib import Path

import pytest

from cli.project import Ended, Slimbert, sentence, write_csv
from slimbert.cli import search as commands
from slimbert.jobs.search.index import METHODS

NARROW = 80


def refused(ended: Ended, *words: str) -> None:
    assert ended.code == 2 and ended.out == ""
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in ended.err, ended.err
    for word in words:
        assert word in lines[0], lines[0]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with ids; some rows are longer than the 32 tokens that the toy reads."""
    rows = [
        [f"n{i}", " ".join([sentence(("good phone", "bad screen")[i % 2], i)] * (6 if i % 5 == 0 else 1))]
        for i in range(40)
    ]
    return write_csv(tmp_path_factory.mktemp("search") / "c.csv", ["id", "text"], rows)


@pytest.fixture
def built(toy: Path, corpus: Path, slimbert: Slimbert) -> Path:
    """An index, built by the first test that needs it."""
    out = corpus.parent / "index"
    assert slimbert("index", toy / "lm", corpus, "--out", out, "--device", "cpu").code == 0
    return out


def test_index_says_what_it_made(toy: Path, corpus: Path, tmp_path: Path, slimbert: Slimbert):
    words = ("index", toy / "lm", corpus, "--out", tmp_path / "i", "--batch", 8, "--device", "cpu")
    made = slimbert(*words)
    assert made.code == 0 and "passage 40/40" in made.err
    for word in (
        "documents",
        "16 numbers each",
        "cut there; --windows splits them",
        "of it the model",
        "slimbert search",
    ):
        assert word in " ".join(made.out.split()), word
    assert all(len(line) <= NARROW for line in made.out.splitlines() if str(tmp_path)[:20] not in line)
    again = slimbert(*words, "--json").json
    assert again["documents"] == again["passages"] == 40 and again["long"] == 8 and not again["approximate"]
    split = slimbert("index", toy / "lm", corpus, "--out", tmp_path / "w", "--windows", "--json").json
    assert split["documents"] == 40 and split["passages"] >= 48 and split["windows"]


def test_search_shows_hits(built: Path, slimbert: Slimbert):
    found = slimbert("search", built, "good phone", "--top", 3)
    assert found.code == 0 and found.out.startswith("good phone\n")
    assert found.out.count("c.csv:row") == 3 and "vectors; 40 passages" in found.out and found.err == ""
    assert "BM25" in found.out and all("  bm25 " in line for line in found.out.splitlines() if "c.csv" in line)
    assert all(len(line) <= NARROW for line in found.out.splitlines() if "c.csv" not in line)
    nothing = slimbert("search", built, "unheard", "--method", "bm25")
    assert nothing.code == 0 and "nothing found" in nothing.out


@pytest.mark.parametrize("method", ["vectors", "bm25", "hybrid"])
def test_search_as_json(built: Path, slimbert: Slimbert, method: str):
    made = slimbert("search", built, "good phone", "--method", method, "--top", 4, "--json").json
    assert made["method"] == method and made["passages"] == 40 and made["rerank"] is None
    assert [one["query"] for one in made["found"]] == ["good phone"]
    hits = made["found"][0]["hits"]
    assert len(hits) == 4 and set(hits[0]) == {"text", "score", "place", "id"}
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert hits[0]["id"].startswith("n") and ":row " in hits[0]["place"]
    words = slimbert("search", built, "good phone", "--method", "bm25", "--top", 100, "--json").json["found"][0]["hits"]
    ranks = {hit["place"]: rank for rank, hit in enumerate(words, 1)}
    assert made["found"][0]["bm25"] == [ranks.get(hit["place"]) for hit in hits]
    assert method != "bm25" or made["found"][0]["bm25"] == [1, 2, 3, 4]


def test_search_for_a_file_of_queries(built: Path, tmp_path: Path, slimbert: Slimbert):
    queries = ["good phone", "bad screen"]
    (tmp_path / "q.txt").write_text("\n".join([queries[0], "", queries[1]]) + "\n")
    write_csv(tmp_path / "q.csv", ["number", "query"], [["1", queries[0]], ["2", queries[1]]])
    (tmp_path / "q.jsonl").write_text("".join(json.dumps({"wanted": text, "text": "x"}) + "\n" for text in queries))
    words = ("search", built, "--json", "--method", "bm25", "--file")
    first = slimbert(*words, tmp_path / "q.txt").json["found"]
    assert [one["query"] for one in first] == queries
    assert slimbert(*words, tmp_path / "q.csv").json["found"] == first
    assert slimbert(*words, tmp_path / "q.jsonl", "--text-column", "wanted").json["found"] == first


def test_many_queries_show_progress(built: Path, tmp_path: Path, slimbert: Slimbert):
    (tmp_path / "q.txt").write_text("good phone\n" * 300)
    found = slimbert("search", built, "--file", tmp_path / "q.txt", "--top", 1, "--json")
    assert len(found.json["found"]) == 300 and "query 300/300" in found.err


def test_search_with_a_judge(toy: Path, built: Path, slimbert: Slimbert):
    words = ("search", built, "good phone", "--rerank", toy / "pairs", "--rerank-top", 5, "--top", 3)
    made = slimbert(*words, "--json").json
    assert made["label"] == "same" and made["rerank"] == str(toy / "pairs") and len(made["found"][0]["hits"]) == 3
    assert all(0 <= hit["score"] <= 1 for hit in made["found"][0]["hits"])
    assert "re-ranked by" in slimbert(*words, "--rerank-label", "other").out


def test_what_is_wrong_is_one_line(toy: Path, built: Path, corpus: Path, tmp_path: Path, slimbert: Slimbert):
    (tmp_path / "empty.txt").write_text("\n \n")
    refused(slimbert("search", built), "neither is given", "--file queries.txt")
    refused(slimbert("search", built, "a", "--file", tmp_path / "empty.txt"), "both are given")
    refused(slimbert("search", built, " "), "it is empty")
    refused(slimbert("search", built, "--file", tmp_path / "empty.txt"), "empty.txt", "no query")
    refused(slimbert("search", built, "--file", tmp_path / "no.txt"), "no.txt", "no such file")
    refused(slimbert("search", toy, "a"), "no index here")
    refused(slimbert("search", built, "a", "--method", "magic"), "--method", "hybrid")
    refused(slimbert("search", built, "a", "--method", "approximate"), "with --approximate")
    refused(slimbert("search", built, "a", "--rerank", toy / "run"), "does not judge pairs")
    refused(
        slimbert("search", built, "a", "--rerank", toy / "pairs", "--rerank-label", "x"), "--rerank-label", "'same'"
    )
    refused(slimbert("index", toy / "lm", tmp_path / "empty.txt", "--out", tmp_path / "i"), "empty.txt", "no text")
    refused(slimbert("index", toy, corpus, "--out", tmp_path / "i"), "config.json is missing")
    refused(slimbert("index", toy / "lm", corpus, "--out", tmp_path / "i", "--text-column", "txet"), "'text'?")
    refused(slimbert("index", toy / "init", corpus, "--out", built), "another model")
    refused(slimbert("index", toy / "lm", corpus, "--out", toy / "run"), "not empty and no index")
    assert not (tmp_path / "i").exists()


def test_a_damaged_index_is_one_line(built: Path, tmp_path: Path, slimbert: Slimbert):
    folder = shutil.copytree(built, tmp_path / "i")
    content = bytearray((folder / "vectors.npy").read_bytes())
    content[-2] ^= 1
    (folder / "vectors.npy").write_bytes(content)
    refused(slimbert("search", folder, "a"), "vectors.npy", "build the index again")
    assert slimbert("search", folder, "good", "--no-verify").code == 0
    (folder / "vectors.npy").write_bytes(content[:-4])
    refused(slimbert("search", folder, "a", "--no-verify"), "vectors.npy", "bytes, the manifest says")


def test_without_its_extra(
    toy: Path, corpus: Path, tmp_path: Path, slimbert: Slimbert, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("slimbert.jobs.search.bm25.find_spec", lambda name: None)
    refused(slimbert("index", toy / "lm", corpus, "--out", tmp_path / "i"), 'pip install "slimbert[search]"')


def test_the_methods_of_the_command_are_those_of_an_index():
    assert tuple(commands.Method) == METHODS
