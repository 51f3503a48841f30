"""Asking an index: each method, many queries as one by one, and whatever is damaged is named before it is used."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jobs.search.toy import texts
from slimbert.data.shards import manifest_hash
from slimbert.errors import InputError
from slimbert.jobs.predict import load
from slimbert.jobs.search.index import METHODS, Hit, Index, open_index

EXACT = [method for method in METHODS if method != "approximate"]


@pytest.fixture
def opened(built: Path) -> Index:
    return open_index(built, device="cpu")


def test_vectors_find_the_nearest(opened: Index, model: Path):
    queries = texts(7, seed=5)
    products = load(model, device="cpu").embed(queries, normalise=True) @ np.asarray(opened.vectors).T
    for row, hits in zip(products, opened.search(queries, top=5), strict=True):
        assert [hit.score for hit in hits] == pytest.approx(np.sort(row)[::-1][:5].tolist(), abs=1e-5)
        for hit in hits:
            number = [one.place for one in opened.texts].index(hit.place)
            assert row[number] == pytest.approx(hit.score, abs=1e-5)


@pytest.mark.parametrize("method", EXACT)
def test_a_text_finds_itself(opened: Index, method: str):
    wanted = [opened.texts[number] for number in (2, 33, 55)]
    for one, hits in zip(wanted, opened.search([one.text for one in wanted], method=method), strict=True):
        assert isinstance(hits[0], Hit) and len(hits) <= 10
        best = hits[0].score - 1e-5  # the same words in another order are as near, but for rounding
        assert one.text in [hit.text for hit in hits if hit.score >= best]


@pytest.mark.parametrize("method", EXACT)
def test_queries_together_as_one_by_one(opened: Index, method: str):
    queries = texts(5, seed=6)
    together = opened.search(queries, top=8, method=method)
    for query, hits in zip(queries, together, strict=True):
        alone = opened.search([query], top=8, method=method)[0]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-5)
    assert opened.search([], method=method) == []


def test_more_than_there_are(opened: Index):
    assert len(opened.search(["bama"], top=1000)[0]) == len(opened)
    assert 0 < len(opened.search(["bama"], top=1000, method="bm25")[0]) < len(opened)
    assert opened.search(["unheard"], method="bm25") == [[]]
    assert len(opened.search(["unheard"], method="hybrid")[0]) == 10


def test_hybrid_is_the_fusion_of_both(opened: Index):
    query = texts(1, seed=8)[0]
    lists = [[hit.place for hit in opened.search([query], top=100, method=m)[0]] for m in ("vectors", "bm25")]
    for hit in opened.search([query], top=20, method="hybrid")[0]:
        expected = sum(1 / (61 + one.index(hit.place)) for one in lists if hit.place in one)
        assert hit.score == pytest.approx(expected, rel=1e-5)


def test_bm25_loads_no_model(built: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("slimbert.jobs.search.index.copied", lambda *args, **options: 1 / 0)
    assert open_index(built).search(["bama"], method="bm25")[0]


@pytest.mark.parametrize(
    ("queries", "options", "message"),
    [
        ("bama", {}, r"write search\(\[query\]\)"),
        (["bama", " "], {}, r"queries\[1\]: ' ' is no query"),
        ([None], {}, r"queries\[0\]"),
        (["bama"], {"top": 0}, "ask for 1 or more"),
        (["bama"], {"method": "magic"}, "no method 'magic'; choose one of vectors, bm25, hybrid, approximate"),
    ],
)
def test_what_is_no_query_is_told(opened: Index, queries, options, message: str):
    with pytest.raises(InputError, match=message):
        opened.search(queries, **options)


FILES = ("vectors.npy", "texts.jsonl", "offsets.npy", "bm25/data.csc.index.npy", "model/tokenizer.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damage_is_named(built: Path, tmp_path: Path, name: str, damage: str):
    folder = shutil.copytree(built, tmp_path / "i")
    content = (folder / name).read_bytes()
    if damage == "gone":
        (folder / name).unlink()
    else:
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        (folder / name).write_bytes(content[:-7] if damage == "cut" else bytes(changed))
    with pytest.raises(InputError, match="build the index again") as error:
        open_index(folder)
    assert name.rpartition("/")[2] in error.value.place
    if damage == "flipped":
        open_index(folder, verify=False)


def test_the_manifest_is_checked(built: Path, tmp_path: Path):
    folder = shutil.copytree(built, tmp_path / "i")
    path = folder / "manifest.json"
    whole = json.loads(path.read_text())
    for content, message in (
        ("{", "damaged"),
        ("[]", "damaged"),
        (json.dumps(whole | {"count": 7}), "does not match its own hash"),
        (json.dumps(other(whole, version=99, slimbert="9.9")), "version 99, made by slimbert 9.9; this one reads"),
        (json.dumps(other(whole, format="shards")), "shards version 1"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=message):
            open_index(folder)
    path.unlink()
    with pytest.raises(InputError, match="no index here"):
        open_index(folder)
    with pytest.raises(InputError, match="no such index; make one: slimbert index"):
        open_index(tmp_path / "nothing")


def other(manifest: dict, **changed: object) -> dict:
    made = {**manifest, **changed}
    return made | {"sha256": manifest_hash(made)}


def test_a_pickle_is_refused(built: Path, tmp_path: Path):
    """Also where the manifest names it, as somebody may who wants it to be loaded."""
    folder = shutil.copytree(built, tmp_path / "i")
    np.save(folder / "vectors.npy", np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["vectors.npy"]["bytes"] = (folder / "vectors.npy").stat().st_size
    (folder / "manifest.json").write_text(json.dumps(other(manifest)))
    with pytest.raises(InputError, match="no sound numpy file"):
        open_index(folder, verify=False, device="cpu").search(["bama"])


def test_static_vectors_are_means_of_the_token_table(opened: Index):
    """By hand: the rows of the table of the pieces between [CLS] and [SEP], cut where the model stops reading."""
    reader = opened.predictor
    table = reader.model.encoder.embedding.token.weight.detach().numpy()
    for number in (0, 17, 40):
        ids = reader.tokenizer.encode([opened.texts[number].text], reader.task.max_len)[0][1:-1]
        mean = table[ids].mean(axis=0)
        np.testing.assert_allclose(opened.static[number], mean / np.linalg.norm(mean), atol=1e-6)
    best = opened.search([opened.texts[17].text], top=1, method="static")[0][0]
    assert best.score == pytest.approx(1, abs=1e-5)
