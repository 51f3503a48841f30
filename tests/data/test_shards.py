"""Prepared shards: the rows hold the stream of tokens, whatever the workers, the kills and the shard size."""

import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimbert import machine
from slimbert.data import chunks, packing, parts
from slimbert.data.prepare import Report, prepare
from slimbert.data.shards import Shards
from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError, RunError

SEQ = 16
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "lazy",
    "dogs",
    "while",
    "other",
    "animals",
    "sleep",
    "under",
    "a",
    "tree",
    "near",
    "some",
    "water",
]


def texts(count: int, seed: int = 0, longest: int = 60) -> list[str]:
    draw = random.Random(seed)
    return [f"{i} " + " ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for i in range(count)]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train(texts(50), 120)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts(300)))
    return path


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 5000)


def stream(tokenizer: TextTokenizer, documents: list[str]) -> list[int]:
    encoded = tokenizer.inner.encode_batch(documents, add_special_tokens=False)
    return [number for one in encoded for number in [*one.ids, tokenizer.special.sep]]


def tokens_of(shards: Shards) -> list[int]:
    return shards.rows(np.arange(len(shards)))[:, 1:].flatten().tolist()


def content(folder: Path) -> dict[str, str]:
    """Name -> hash of everything that was written, as the manifest says."""
    splits = json.loads((folder / "manifest.json").read_text())["splits"]
    return {f["name"]: f["sha256"] for split in splits.values() for shard in split["shards"] for f in shard["files"]}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shard_bytes", [packing.SHARD_BYTES, 640])  # one shard; shards of 20 rows
def test_rows_are_the_stream_of_documents(
    tokenizer: TextTokenizer, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(packing, "SHARD_BYTES", shard_bytes)
    report = prepare(corpus, tokenizer, seq_len=SEQ, out=tmp_path / "out")
    shards = Shards.open(tmp_path / "out")
    wanted = stream(tokenizer, texts(300))
    assert len(shards) == report.rows == -(-len(wanted) // (SEQ - 1))
    assert report.tokens == len(wanted)
    assert report.documents == 300
    rows = shards.rows(np.arange(len(shards)))
    assert rows.dtype == np.int64
    assert (rows[:, 0] == tokenizer.special.cls).all()
    made = tokens_of(shards)
    assert made[: len(wanted)] == wanted
    assert set(made[len(wanted) :]) <= {tokenizer.special.pad}
    picked = np.array([len(shards) - 1, 0, 7, 7])
    assert np.array_equal(shards.rows(picked), rows[picked])
    # A token's document, numbered from 0 in its row, is the count of [SEP] before it (after [CLS]) in the row.
    ends = np.cumsum(rows == tokenizer.special.sep, axis=1)
    before = np.concatenate([np.zeros((len(rows), 1), np.int64), ends[:, :-1]], axis=1)
    first_is_end = rows[:, 1:2] == tokenizer.special.sep  # the document before ends right behind [CLS]
    segments = shards.segments(np.arange(len(shards)))
    assert segments.dtype == np.int32
    real = rows != tokenizer.special.pad
    assert np.array_equal(segments[real], before[real])
    assert first_is_end.any()
    assert np.array_equal(shards.segments(picked), segments[picked])
    assert np.array_equal(shards.documents(), segments.max(axis=1) + 1)
    assert shards.documents().dtype == np.int32
    with pytest.raises(IndexError):
        shards.rows([len(shards)])


@pytest.mark.usefixtures("small_chunks")
def test_the_result_does_not_depend_on_the_workers(tokenizer: TextTokenizer, corpus: Path, tmp_path: Path) -> None:
    for workers in (1, 3):
        prepare(corpus, tokenizer, seq_len=SEQ, out=tmp_path / str(workers), workers=workers, validation=0.1)
    assert content(tmp_path / "1") == content(tmp_path / "3")
    assert not (tmp_path / "1" / ".parts").exists()
    assert TextTokenizer.load(Shards.open(tmp_path / "1").tokenizer_folder).sha256 == tokenizer.sha256


@pytest.mark.usefixtures("small_chunks")
def test_a_core_that_the_control_group_withholds_gets_no_worker(
    tokenizer: TextTokenizer, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    begin = parts.Worker.__init__

    def counted(self: parts.Worker, tokenizer_folder: Path, folder: Path) -> None:
        begun.append(folder.name)
        begin(self, tokenizer_folder, folder)

    (tmp_path / "self").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text("250000 100000\n")  # two and a half cores
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(parts.Worker, "__init__", counted)
    prepare(corpus, tokenizer, seq_len=SEQ, out=tmp_path / "out")
    assert begun == [".parts"] * 3


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.001, 0.999), count=st.integers(1, 40), longest=st.integers(1, 60), seed=st.integers(0, 9))
def test_validation_holds_whole_documents_and_training_is_never_empty(
    tokenizer: TextTokenizer,
    tmp_path_factory: pytest.TempPathFactory,
    share: float,
    count: int,
    longest: int,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("split")
    documents = texts(count, seed, longest)
    (folder / "a.txt").write_text("\n\n".join(documents))
    report = prepare(folder / "a.txt", tokenizer, seq_len=SEQ, out=folder / "out", validation=share, seed=seed)
    train = tokens_of(Shards.open(folder / "out"))
    held = tokens_of(Shards.open(folder / "out", split="validation")) if report.validation_rows else []
    assert report.rows >= 1
    assert report.validation_rows >= 1 or report.rows == 1
    pad = tokenizer.special.pad
    wanted = stream(tokenizer, documents)
    assert sum(token != pad for token in train + held) == len(wanted)
    got = sum(token != pad for token in held) / len(wanted)
    if report.notes:  # the last rows
        assert train[: len(wanted)] + [token for token in held if token != pad] == wanted
        assert report.validation_rows in (round(share * (rows := report.rows + report.validation_rows)), 1, rows - 1)
    else:
        assert abs(got - share) <= 0.5 * share
        end = " ".join(map(str, [tokenizer.special.sep]))
        for document in " ".join(map(str, [t for t in held if t != pad])).split(f" {end}"):
            assert not document.strip() or document.strip() in " ".join(map(str, wanted))


def test_duplicates_and_bad_records(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    lines = ['{"text": "the fox"}', '{"text": "the fox"}', "{", '{"text": "a tree"}', '{"text": 3}']
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"a\.jsonl:3: broken JSON"):
        prepare(path, tokenizer, seq_len=SEQ, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = prepare(path, tokenizer, seq_len=SEQ, out=tmp_path / "out", skip_bad=True, dedup=True)
    assert (report.documents, report.duplicates, report.skipped) == (2, 1, 2)
    assert [record.split(": ")[0] for record in report.skipped_records] == [f"{path}:3", f"{path}:5"]
    assert (tmp_path / "out" / "skipped.txt").read_text().count("\n") == 2
    assert tokens_of(Shards.open(tmp_path / "out"))[:6] == [*stream(tokenizer, ["the fox", "a tree"])][:6]


def test_other_arguments_in_the_same_folder_are_refused(tokenizer: TextTokenizer, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = prepare(corpus, tokenizer, seq_len=SEQ, out=out)
    assert prepare(corpus, tokenizer, seq_len=SEQ, out=out) == report
    with pytest.raises(InputError, match="seq_len 16, now 32"):
        prepare(corpus, tokenizer, seq_len=32, out=out)
    with pytest.raises(InputError, match=r"validation 0\.0, now 0\.1"):
        prepare(corpus, tokenizer, seq_len=SEQ, out=out, validation=0.1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("mine")
    for bad in (tmp_path / "full", corpus):
        with pytest.raises(InputError, match=r"not empty|is a file"):
            prepare(corpus, tokenizer, seq_len=SEQ, out=bad)
    with pytest.raises(InputError, match="no share"):
        prepare(corpus, tokenizer, seq_len=SEQ, out=out, validation=1.0)
    os.utime(corpus, (1, 1))
    with pytest.raises(InputError, match="they have changed"):
        prepare(corpus, tokenizer, seq_len=SEQ, out=out)


def test_an_empty_corpus_leaves_nothing(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n\n")
    with pytest.raises(InputError, match="there is no text"):
        prepare(tmp_path / "a.txt", tokenizer, seq_len=SEQ, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


CHILD = """
import sys
from slimbert.data import chunks
from slimbert.data.prepare import prepare
chunks.CHUNK_BYTES = 5000
print("started", flush=True)
prepare(sys.argv[1], sys.argv[2], seq_len=16, out=sys.argv[3], validation=0.1, workers=2)
"""


def child(corpus: Path, folder: Path, out: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(corpus), str(folder), str(out)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(parts.__file__).parents[2])},
    )


@pytest.mark.usefixtures("small_chunks")
def test_killed_at_any_moment_it_goes_on(tokenizer: TextTokenizer, corpus: Path, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tok")
    whole = tmp_path / "whole"
    report = prepare(corpus, tokenizer, seq_len=SEQ, out=whole, validation=0.1)
    out = tmp_path / "out"
    draw = random.Random(1)
    for wanted in (0, 1, 5, 9):  # parts that are there at the kill
        process = child(corpus, tmp_path / "tok", out)
        while process.poll() is None and len(list(out.glob(".parts/*.safetensors"))) < wanted:
            time.sleep(0.005)
        time.sleep(draw.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    unfinished = not (out / "manifest.json").exists()
    if unfinished:  # else the last child was faster than the kill
        with pytest.raises(InputError, match="did not finish"):
            Shards.open(out)
        with pytest.raises(InputError, match="begun with other arguments"):
            prepare(corpus, tokenizer, seq_len=SEQ + 1, out=out, validation=0.1)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob(".parts/*.safetensors")}
    assert unfinished == bool(kept)
    again = prepare(corpus, tokenizer, seq_len=SEQ, out=out, validation=0.1)
    assert content(out) == content(whole)
    assert (again.documents, again.tokens, again.rows) == (report.documents, report.tokens, report.rows)
    if unfinished:
        assert again.tokens_per_second < again.tokens / again.seconds  # not all parts were made anew


@pytest.mark.usefixtures("small_chunks")
def test_a_full_disk_stops_it_and_nothing_is_lost(
    tokenizer: TextTokenizer, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(corpus, tokenizer, seq_len=SEQ, out=tmp_path / "whole")
    real = os.fsync
    made: list[int] = []

    def full(descriptor: int) -> None:
        made.append(descriptor)
        if len(made) > 11:  # tokenizer, hashes, asked.json and a first shard are written; then the disk is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"not enough disk|No space left"):
            prepare(corpus, tokenizer, seq_len=SEQ, out=tmp_path / "out")
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / ".parts").glob("*.safetensors")}
    assert len(kept) > 3
    seen: list[int] = []
    again = prepare(corpus, tokenizer, seq_len=SEQ, out=tmp_path / "out", progress=lambda p: seen.append(p.documents))
    assert again.tokens_per_second == 0  # no part was made anew
    assert seen[-1] == 300
    assert dataclasses.replace(again, seconds=0, tokens_per_second=0) == dataclasses.replace(
        whole, seconds=0, tokens_per_second=0
    )
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.usefixtures("small_chunks")
def test_a_worker_that_dies_is_reported(
    tokenizer: TextTokenizer, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = parts.Worker.make

    def shot(self: parts.Worker, chunk: parts.Chunk) -> parts.Part:
        if chunk.number == 4:
            self.process.kill()
        return make(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(parts.Worker, "make", shot)
        with pytest.raises(RunError, match="SIGKILL"):
            prepare(corpus, tokenizer, seq_len=SEQ, out=tmp_path / "out")
    assert prepare(corpus, tokenizer, seq_len=SEQ, out=tmp_path / "out").documents == 300


@pytest.fixture(scope="module")
def prepared(tokenizer: TextTokenizer, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    out = tmp_path_factory.mktemp("prepared") / "out"
    return out, prepare(corpus, tokenizer, seq_len=SEQ, out=out)


def test_open_names_what_is_missing(prepared: tuple[Path, Report], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such data folder"):
        Shards.open(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        Shards.open(tmp_path)
    (tmp_path / ".parts").mkdir()
    with pytest.raises(InputError, match="did not finish"):
        Shards.open(tmp_path)
    with pytest.raises(InputError, match="no split 'validation'"):
        Shards.open(prepared[0], split="validation")


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_or_a_cut_is_found(
    prepared: tuple[Path, Report], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    names = ["manifest.json", "train-00000.bin", "train-00000.docs.bin"]
    files = {name: bytearray((prepared[0] / name).read_bytes()) for name in names}
    name = data.draw(st.sampled_from(names))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    if data.draw(st.booleans()):
        files[name][at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del files[name][at:]
    for each, value in files.items():
        (folder / each).write_bytes(bytes(value))
    before = (prepared[0] / "manifest.json").read_bytes()
    if name == "manifest.json" and _same_json(before, bytes(files[name])):
        return
    with pytest.raises(InputError):
        Shards.open(folder)


def _same_json(one: bytes, other: bytes) -> bool:
    """A bit of a blank between two values may turn into another blank."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False
