"""An index is whole or goes on: what stands in it, killed and resumed to the same bytes, and what is refused."""

import json
import random
import shutil
import signal
import time
from importlib.util import find_spec
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.search.toy import encoder, slowly, texts
from slimbert.errors import InputError, Interrupted, RunError
from slimbert.jobs.predict import Predictor, load
from slimbert.jobs.search import build
from slimbert.jobs.search.build import index
from slimbert.jobs.search.index import open_index
from slimbert.model.heads import EmbedConfig, MaskedLmConfig

KILLS, PASSAGES = 4, 500
MOST = 12  # portions of 8 passages before each kill: all kills land before the end, however late they come


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_stands_in_an_index(built: Path, corpus: Path, model: Path):
    found = contents(built)
    manifest = json.loads(found.pop("manifest.json"))
    assert set(manifest["files"]) == set(found)
    assert not any(path.name.startswith(".") for path in built.iterdir())
    opened = open_index(built, device="cpu")
    assert (len(opened), opened.dim, manifest["documents"]) == (59, 32, 59)
    texts_of = [one.text for one in opened.texts]
    vectors = opened.vectors
    assert isinstance(vectors, np.memmap) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = load(model, device="cpu").embed(texts_of, normalise=True)
    np.testing.assert_allclose(vectors, alone, atol=1e-5)  # float32, other batches
    assert opened.texts[0].place == f"{corpus}/a.csv:row 1" and opened.texts[0].id == "k0"
    assert opened.texts[31].place == f"{corpus}/b.txt:document 2" and opened.texts[31].id == "32"
    assert opened.texts[54].place == f"{corpus}/c.jsonl:row 6"  # the fifth is blank


def test_the_index_needs_nothing_outside_itself(model: Path, tmp_path: Path):
    own = shutil.copytree(model, tmp_path / "m")
    (tmp_path / "c.txt").write_text("\n\n".join(texts(20)))
    index(own, tmp_path / "c.txt", out=tmp_path / "i", device="cpu", quiet=True)
    before = open_index(tmp_path / "i", device="cpu").search(["bama dene"])
    shutil.rmtree(own)
    (tmp_path / "c.txt").unlink()
    moved = shutil.move(tmp_path / "i", tmp_path / "elsewhere")
    assert open_index(moved, device="cpu").search(["bama dene"]) == before
    assert str(tmp_path / "m") not in (moved / "manifest.json").read_text()


def test_the_head_stays_only_where_it_makes_vectors(tmp_path: Path):
    (tmp_path / "c.txt").write_text("\n\n".join(texts(9)))
    for name, head, kept in (("cls", EmbedConfig(pool="cls"), "embed"), ("lm", MaskedLmConfig(), None)):
        folder = encoder(tmp_path / name, head=head)
        index(folder, tmp_path / "c.txt", out=tmp_path / f"i-{name}", device="cpu", quiet=True)
        opened = open_index(tmp_path / f"i-{name}", device="cpu")
        assert getattr(opened.predictor.model.config.head, "kind", None) == kept
        expected = load(folder, device="cpu").embed(texts(9), normalise=True)
        np.testing.assert_allclose(opened.vectors, expected, atol=1e-5)


def test_the_same_call_again_does_nothing(built: Path, corpus: Path, model: Path):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    made = index(model, corpus, out=built, device="cpu", quiet=True)
    assert (made.documents, made.passages) == (59, 59)
    assert before == {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    assert made.bytes > made.model_bytes > 0


def test_long_documents_are_cut_or_split(model: Path, tmp_path: Path):
    long = " ".join(texts(12, longest=30))
    (tmp_path / "c.txt").write_text(f"bama dene\n\n{long}")
    cut = index(model, tmp_path / "c.txt", out=tmp_path / "cut", device="cpu", quiet=True)
    assert (cut.documents, cut.passages, cut.long, cut.max_len) == (2, 2, 1, 24)
    split = index(model, tmp_path / "c.txt", out=tmp_path / "split", windows=True, device="cpu", quiet=True)
    assert split.documents == 2 and split.passages > 5 and split.long == 1
    opened = open_index(tmp_path / "split", device="cpu")
    last = opened.texts[len(opened) - 1]
    assert last.place == f"{tmp_path}/c.txt:document 2, passage {split.passages - 1}" and last.id == "2"
    best = opened.search([last.text], top=1)[0][0]
    assert (best.text, best.place) == (last.text, last.place) and best.score == pytest.approx(1, abs=1e-5)


def test_texts_are_encoded_in_portions(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No more than a portion is ever in the memory; the portion changes nothing but the batches."""
    (tmp_path / "c.txt").write_text("\n\n".join(texts(50)))
    sizes, embed = [], Predictor.embed

    def watched(self: Predictor, given: Any, **options: Any) -> Any:
        sizes.append(len(given))
        return embed(self, given, **options)

    monkeypatch.setattr(Predictor, "embed", watched)
    monkeypatch.setattr(build, "BATCHES", 4)
    index(model, tmp_path / "c.txt", out=tmp_path / "i", batch_size=4, device="cpu", quiet=True)
    assert sizes == [16, 16, 16, 2]
    expected = load(model, device="cpu").embed(texts(50), normalise=True)
    np.testing.assert_allclose(open_index(tmp_path / "i").vectors, expected, atol=1e-5)


def rows_done(folder: Path) -> int:
    try:
        return int(json.loads((folder / ".building" / "state.json").read_bytes())["vectors"])
    except (OSError, ValueError):
        return 0


def kill(process: ForkServerProcess, folder: Path, *, after: int, moment: float) -> None:
    """SIGKILL, `moment` seconds after so many passages are on the disk, however long that takes."""
    while rows_done(folder) < after:
        assert process.is_alive(), f"ended with {process.exitcode} before its kill"
        time.sleep(0.002)
    time.sleep(moment)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_kills_change_nothing(model: Path, tmp_path: Path):
    """Every file, the manifest too, is that of the index that nobody killed; what was encoded is not encoded again."""
    (tmp_path / "c.txt").write_text("\n\n".join(texts(PASSAGES)))
    options = {"model": str(model), "corpus": str(tmp_path / "c.txt")}
    whole = slowly(**options, out=str(tmp_path / "whole"))
    assert KILLS * MOST * 8 < PASSAGES
    draw, done = random.Random(0), 0
    for _ in range(KILLS):
        process = slowly(**options, out=str(tmp_path / "i"), most=MOST)
        kill(process, tmp_path / "i", after=done + 8 * draw.randint(1, 5), moment=draw.random() * 0.02)
        assert rows_done(tmp_path / "i") > done
        done = rows_done(tmp_path / "i")
        with pytest.raises(InputError, match="did not finish here; start it again"):
            open_index(tmp_path / "i")
    last = slowly(**options, out=str(tmp_path / "i"))
    for process in (last, whole):
        process.join()
        assert process.exitcode == 0
    assert contents(tmp_path / "i") == contents(tmp_path / "whole")


def test_killed_at_any_pass(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Broken off while texts are read, words are counted, the model is copied, the manifest is written."""
    (tmp_path / "c.txt").write_text("\n\n".join(texts(20)))
    options: dict[str, Any] = {"device": "cpu", "quiet": True}
    index(model, tmp_path / "c.txt", out=tmp_path / "whole", **options)
    for place in ("store.write_texts", "bm25.build_bm25", "store.write_manifest", "Encoder.save"):
        with monkeypatch.context() as patch:
            patch.setattr(f"slimbert.jobs.search.build.{place}", lambda *args, **given: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                index(model, tmp_path / "c.txt", out=tmp_path / "i", **options)
        assert place != "store.write_texts" or not (tmp_path / "i").exists()
    index(model, tmp_path / "c.txt", out=tmp_path / "i", **options)
    assert contents(tmp_path / "i") == contents(tmp_path / "whole")


def test_lost_vectors_are_made_again(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "c.txt").write_text("\n\n".join(texts(40)))
    monkeypatch.setattr(build, "BATCHES", 2)
    options: dict[str, Any] = {"batch_size": 4, "device": "cpu", "quiet": True}
    index(model, tmp_path / "c.txt", out=tmp_path / "whole", **options)
    for size in (0, 100, 128 + 4 * 32 * 13 + 5):
        with monkeypatch.context() as patch:
            patch.setattr("slimbert.jobs.search.store.write_manifest", lambda *args: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                index(model, tmp_path / "c.txt", out=tmp_path / "i", **options)
        with open(tmp_path / "i" / "vectors.npy", "r+b") as file:
            file.truncate(size)
        index(model, tmp_path / "c.txt", out=tmp_path / "i", **options)
        assert contents(tmp_path / "i") == contents(tmp_path / "whole")
        shutil.rmtree(tmp_path / "i")


def test_a_signal_ends_a_portion(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "c.txt").write_text("\n\n".join(texts(40)))
    monkeypatch.setattr(build, "BATCHES", 2)
    options: dict[str, Any] = {"out": tmp_path / "i", "batch_size": 4, "device": "cpu", "quiet": True}
    embed = Predictor.embed

    def signalled(self: Predictor, given: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return embed(self, given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "embed", signalled)
        with pytest.raises(Interrupted, match="SIGTERM: 8 of 40 passages are encoded; the same command goes on"):
            index(model, tmp_path / "c.txt", **options)
    assert index(model, tmp_path / "c.txt", **options).passages == 40


def test_other_arguments_are_refused(model: Path, built: Path, corpus: Path, tmp_path: Path):
    other = encoder(tmp_path / "other", seed=4)
    for given, word in (
        ({"model": other}, "another model"),
        ({"corpus": corpus / "a.csv"}, "other files"),
        ({"text_column": "text"}, "another --text-column"),
        ({"windows": True}, "another choice of --windows"),
    ):
        options: dict[str, Any] = {"model": model, "corpus": corpus, "out": built, "device": "cpu", **given}
        with pytest.raises(InputError, match=word):
            index(**options)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(InputError, match="is not empty and no index"):
        index(model, corpus, out=tmp_path / "full", device="cpu")
    with pytest.raises(InputError, match="is a file"):
        index(model, corpus, out=tmp_path / "full" / "x", device="cpu")


def test_what_cannot_be_indexed(model: Path, tmp_path: Path):
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{\n')
    (tmp_path / "good.txt").write_text("bama")
    for name, word in (
        ("blank.txt", "there is no text to index"),
        ("bad.jsonl", r"bad\.jsonl:2"),
        ("no.txt", "no such"),
    ):
        with pytest.raises(InputError, match=word):
            index(model, tmp_path / name, out=tmp_path / "i", device="cpu", quiet=True)
        assert not (tmp_path / "i").exists()
    with pytest.raises(InputError, match=r"config\.json is missing"):
        index(tmp_path, tmp_path / "good.txt", out=tmp_path / "i", device="cpu")
    bare = shutil.copytree(model, tmp_path / "bare")
    for path in [*bare.glob("tokenizer*"), *bare.glob("vocab*")]:
        path.unlink()
    with pytest.raises(InputError, match="no tokenizer files"):
        index(bare, tmp_path / "good.txt", out=tmp_path / "i", device="cpu")


def test_vectors_that_are_not_finite(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "c.txt").write_text("bama")
    monkeypatch.setattr(Predictor, "embed", lambda *args, **options: np.full((1, 32), np.nan, np.float32))
    with pytest.raises(RunError, match="not finite"):
        index(model, tmp_path / "c.txt", out=tmp_path / "i", device="cpu", quiet=True)


def test_a_full_disk(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "c.txt").write_text("bama")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match="not enough disk space"):
        index(model, tmp_path / "c.txt", out=tmp_path / "i", device="cpu", quiet=True)


def test_two_at_once(built: Path, model: Path, corpus: Path):
    from slimbert.jobs.search.claim import claimed

    with claimed(built), pytest.raises(InputError, match="another index is being built here"):
        index(model, corpus, out=built, device="cpu", quiet=True)


def test_approximate_needs_its_extra(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("slimbert.jobs.search.graph.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "slimbert\[search-ann\]"'):
        index(model, tmp_path, out=tmp_path / "i", approximate=True)


@pytest.mark.skipif(find_spec("hnswlib") is None, reason="needs the extra search-ann (hnswlib)")
def test_a_graph_may_come_later(model: Path, tmp_path: Path):
    """With few vectors the graph finds what exact search finds."""
    (tmp_path / "c.txt").write_text("\n\n".join(texts(60)))
    options: dict[str, Any] = {"out": tmp_path / "i", "device": "cpu", "quiet": True}
    assert not index(model, tmp_path / "c.txt", **options).approximate
    with pytest.raises(InputError, match="with --approximate"):
        open_index(tmp_path / "i", device="cpu").search(["bama"], method="approximate")
    assert index(model, tmp_path / "c.txt", approximate=True, **options).approximate
    opened = open_index(tmp_path / "i", device="cpu")
    queries = texts(5, seed=9)
    exact, graph = (opened.search(queries, top=80, method=method) for method in ("vectors", "approximate"))
    for one, other in zip(exact, graph, strict=True):
        assert [hit.place for hit in one][:10] == [hit.place for hit in other][:10]
        assert [hit.score for hit in other] == pytest.approx([hit.score for hit in one], abs=1e-6)


def test_an_index_inside_its_corpus(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its own files are no documents, neither when it goes on nor when it is asked for again."""
    (tmp_path / "c.txt").write_text("\n\n".join(texts(20)))
    options: dict[str, Any] = {"out": tmp_path / "index", "device": "cpu", "quiet": True}
    with monkeypatch.context() as patch:
        patch.setattr("slimbert.jobs.search.store.write_manifest", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index(model, tmp_path, **options)
    assert [index(model, tmp_path, **options).documents for _ in range(2)] == [20, 20]
