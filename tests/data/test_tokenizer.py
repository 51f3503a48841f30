"""Tokenizer: one text gives one tokenizer, a folder keeps it, transformers reads that folder and gives the same ids."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer

from slimbert.data.tokenizer import TextTokenizer
from slimbert.errors import InputError

TEXTS = [
    "The quick brown fox jumps over the lazy dog, unbelievably quickly.",
    "Jumping foxes are quick; lazy dogs jump unwillingly. Ünlïké 漢字 foxes!",
    "Quickly, the unlikely dog outfoxed the overjoyed fox.",
] * 5


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train(TEXTS, 120)


@pytest.fixture(scope="module")
def folder(tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tok")
    tokenizer.save(path)
    return path


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as old RoBERTa models have it: vocab.json and merges.txt, no tokenizer.json."""
    path = tmp_path_factory.mktemp("roberta")
    made = ByteLevelBPETokenizer()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made.train_from_iterator(TEXTS, vocab_size=400, special_tokens=names, show_progress=False)
    made.save_model(str(path))
    return path


def test_training_twice_gives_the_same_tokenizer(tokenizer: TextTokenizer) -> None:
    assert TextTokenizer.train(iter(TEXTS), 120).sha256 == tokenizer.sha256
    assert TextTokenizer.train(reversed(TEXTS), 120).sha256 == tokenizer.sha256
    assert TextTokenizer.train(TEXTS, 100).sha256 != tokenizer.sha256
    assert tokenizer.vocab_size == 120
    assert tokenizer.special == (0, 1, 2, 3, 4)
    assert tokenizer.pieces[:5] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def test_saved_and_loaded_is_the_same(tokenizer: TextTokenizer, folder: Path) -> None:
    again = TextTokenizer.load(folder)
    assert again.sha256 == tokenizer.sha256
    for ours, theirs in zip(tokenizer.encode(TEXTS, 20), again.encode(TEXTS, 20)):
        assert ours.dtype == np.int32
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("lowercase", [True, False])
def test_vocab_txt_alone_gives_the_same_ids(lowercase: bool, tmp_path: Path) -> None:
    made = TextTokenizer.train(TEXTS, 120, lowercase=lowercase)
    made.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    again = TextTokenizer.load(tmp_path)
    assert again.special == made.special
    assert [list(ids) for ids in again.encode(TEXTS, 99)] == [list(ids) for ids in made.encode(TEXTS, 99)]


def test_transformers_reads_the_folder(tokenizer: TextTokenizer, folder: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    assert theirs(TEXTS, truncation=True, max_length=12)["input_ids"] == [list(x) for x in tokenizer.encode(TEXTS, 12)]
    pairs = [(TEXTS[0], "a fox"), ("dogs", TEXTS[1])]
    made = theirs([a for a, _ in pairs], [b for _, b in pairs], truncation=True, max_length=16)
    ids, types = tokenizer.encode_pairs(pairs, 16)
    assert made["input_ids"] == [list(x) for x in ids]
    assert made["token_type_ids"] == [list(x) for x in types]
    assert (theirs.pad_token_id, theirs.mask_token_id) == (tokenizer.special.pad, tokenizer.special.mask)


def test_roberta_files_without_tokenizer_json(roberta: Path) -> None:
    from transformers import AutoTokenizer

    ours = TextTokenizer.load(roberta)
    assert ours.special == (1, 3, 0, 2, 4)
    ours.save(roberta / "saved")
    theirs = AutoTokenizer.from_pretrained(roberta / "saved")
    assert theirs(TEXTS)["input_ids"] == [list(x) for x in ours.encode(TEXTS, 10_000)]
    ids, types = ours.encode_pairs([("quick fox", "lazy dog")], 50)
    assert [int((ids[0] == 2).sum()), int(types[0].sum())] == [3, 0]
    quick = ours.encode([" quick foxes"], 50)[0]
    assert not ours.continues[quick[1]]
    assert ours.decode(quick).strip() == "quick foxes"


def test_lengths_and_continuations(tokenizer: TextTokenizer) -> None:
    lengths = tokenizer.count(TEXTS)
    assert list(lengths) == [len(ids) for ids in tokenizer.encode(TEXTS, 10_000)]
    assert [len(ids) for ids in tokenizer.encode(TEXTS, 9)] == [9] * len(TEXTS)
    for number, piece in enumerate(tokenizer.pieces):
        assert tokenizer.continues[number] == piece.startswith("##")
    assert tokenizer.encode([], 9) == []


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text(), max_size=4), max_len=st.integers(2, 12))
def test_any_text_is_framed_and_never_too_long(tokenizer: TextTokenizer, texts: list[str], max_len: int) -> None:
    for ids in tokenizer.encode(texts, max_len):
        assert 2 <= len(ids) <= max_len
        assert (ids[0], ids[-1]) == (tokenizer.special.cls, tokenizer.special.sep)


def test_a_failed_save_leaves_the_old_tokenizer(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = TextTokenizer.load(folder)
    loaded.save(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("slimbert.atomic.sync", full)
    with pytest.raises(InputError, match="not enough disk"):
        loaded.save(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "vocab.txt"])
def test_a_changed_file_is_found(name: str, folder: Path, tmp_path: Path) -> None:
    TextTokenizer.load(folder).save(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content.replace(b"e", b"a", 1))
    with pytest.raises(InputError, match="not those that were written"):
        TextTokenizer.load(tmp_path)


def test_what_does_not_fit_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="no such tokenizer folder"):
        TextTokenizer.load(tmp_path / "none")
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        TextTokenizer.load(tmp_path)
    with pytest.raises(InputError, match="there is no text"):
        TextTokenizer.train([" "], 100)
    with pytest.raises(InputError, match="too small"):
        TextTokenizer.train(TEXTS, 5)
    with pytest.raises(InputError, match="whole characters"):
        TextTokenizer.load(folder).encode(["\ud800"], 9)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"] = {piece: n for piece, n in content["model"]["vocab"].items() if piece != "[MASK]"}
    content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] != "[MASK]"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="no special piece for mask"):
        TextTokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "vocab.txt"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_corruption_gives_only_input_errors(
    name: str, folder: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("broken")
    content = bytearray((folder / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + 2] = data.draw(st.binary(max_size=4))
    (path / name).write_bytes(bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]))
    if name == "tokenizer_config.json":
        (path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    try:
        loaded = TextTokenizer.load(path)
    except InputError:
        return
    assert loaded.vocab_size > 4
