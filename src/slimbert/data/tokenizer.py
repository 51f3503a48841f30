"""A tokenizer folder: text <-> pieces, with the roles of its special pieces.

Stands on `tokenizers.Tokenizer` alone. The folder is the one that transformers reads (`AutoTokenizer.from_pretrained`):
tokenizer.json, tokenizer_config.json, and vocab.txt for WordPiece. `train` makes what Devlin et al. 2018,
arXiv:1810.04805, section 3, used: WordPiece over BERT's own splitting.
"""

import hashlib
import json
import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ..atomic import check_hashed, write_hashed
from ..errors import InputError
from .vocabulary import PREFIX, count_words, wordpiece

Ids = np.ndarray[tuple[int], np.dtype[np.int32]]
_BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_ROBERTA = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
FILES = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))  # each set is a whole tokenizer
_WORD_STARTS = ("Ġ", "▁")  # a blank in front, as byte-level and SentencePiece vocabularies write it


class Special(NamedTuple):
    """Ids of the special pieces by role."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the files of a tokenizer."""
    return any(all((folder / file).is_file() for file in files) for files in FILES)


class TextTokenizer:
    """Immutable to its users; safe to share between threads."""

    def __init__(self, inner: Tokenizer, config: dict[str, Any], place: object = "tokenizer"):
        inner.no_padding()
        inner.no_truncation()
        self.inner, self._config, self._lock = inner, config, threading.Lock()
        self._vocabulary: dict[str, int] = inner.get_vocab(with_added_tokens=True)
        self.special = _roles(self._vocabulary, config, place)

    @classmethod
    def load(cls, folder: str | Path) -> "TextTokenizer":
        """From tokenizer.json, vocab.txt, or vocab.json with merges.txt; InputError names what is missing or broken."""
        path = Path(folder)
        if not path.is_dir():
            raise InputError(path, "no such tokenizer folder", "make one by `slimbert tokenizer train`")
        config = _json(path / "tokenizer_config.json") | {
            key: value for key, value in _json(path / "special_tokens_map.json").items() if key.endswith("_token")
        }
        check_hashed(path, ("tokenizer.json", "tokenizer_config.json", "vocab.txt"))
        try:
            if (path / "tokenizer.json").is_file():
                return cls(Tokenizer.from_file(str(path / "tokenizer.json")), config, path)
            if (path / "vocab.txt").is_file():
                lowercase = bool(config.get("do_lower_case", True))
                vocabulary = models.WordPiece.read_file(str(path / "vocab.txt"))
                return cls(_bert(models.WordPiece(vocabulary, unk_token="[UNK]"), lowercase), config, path)
            if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
                pieces = models.BPE.read_file(str(path / "vocab.json"), str(path / "merges.txt"))
                return cls(_roberta(models.BPE(*pieces)), config, path)
        except InputError:
            raise
        except Exception as error:  # tokenizers raises plain Exception for a broken file
            raise InputError(path, f"broken tokenizer ({error})", "train or fetch it again") from error
        raise InputError(path, "holds no tokenizer.json, vocab.txt or vocab.json with merges.txt", "name its folder")

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, *, lowercase: bool = True, min_frequency: int = 2
    ) -> "TextTokenizer":
        """WordPiece of at most `vocab_size` pieces (fewer if the texts hold fewer), the special ones first.

        Counts words only, so memory grows with the distinct words. Equal texts give an equal tokenizer.
        """
        least = 2 * len(_BERT)
        if vocab_size < least:
            raise InputError("vocab_size", f"{vocab_size} is too small", f"at least {least}, commonly 8,000 to 30,522")
        words = count_words(texts, _bert(models.WordPiece(unk_token=_BERT["unk"]), lowercase))
        if not words:
            raise InputError("corpus", "there is no text in it", "name files with text")
        pieces = wordpiece(words, vocab_size, special=list(_BERT.values()), min_frequency=min_frequency)
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        inner = _bert(models.WordPiece(vocabulary, unk_token=_BERT["unk"]), lowercase)
        names = {f"{role}_token": piece for role, piece in _BERT.items()}
        return cls(inner, {"do_lower_case": lowercase, **names})

    def save(self, folder: str | Path) -> None:
        """Write the files that transformers and `load` read; an existing tokenizer there is replaced.

        Each file is there whole or not at all. Raises InputError where it cannot be written.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        config = {**self._config}
        if "tokenizer_class" not in config:
            config["tokenizer_class"] = "PreTrainedTokenizerFast"  # reads tokenizer.json as it is, in every version
            types = ["token_type_ids"] if self.kind == "WordPiece" else []
            config["model_input_names"] = ["input_ids", *types, "attention_mask"]
        for role, number in self.special._asdict().items():
            config.setdefault(f"{role}_token", self.pieces[number])
        texts = {
            "tokenizer.json": self.inner.to_str(pretty=True),
            "tokenizer_config.json": json.dumps(config, indent=2, ensure_ascii=False) + "\n",
        }
        if self.kind == "WordPiece":
            texts["vocab.txt"] = "".join(piece + "\n" for piece in self.pieces)
        write_hashed(path, {name: text.encode() for name, text in texts.items()})

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """Piece by id; "" where an id is not used."""
        made = [""] * (max(self._vocabulary.values()) + 1)
        for piece, number in self._vocabulary.items():
            made[number] = piece
        return tuple(made)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id: the rows that an embedding table needs."""
        return len(self.pieces)

    @property
    def kind(self) -> str:
        """WordPiece, BPE, Unigram or WordLevel."""
        return type(self.inner.model).__name__

    @cached_property
    def special_ids(self) -> Ids:
        """[n] int32, sorted: the five roles and every other piece marked special."""
        marked = [number for number, piece in self.inner.get_added_tokens_decoder().items() if piece.special]
        return np.unique(np.array([*self.special, *marked], np.int32))

    @cached_property
    def continues(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """[V]: true where the piece goes on with the word of the piece before it."""
        prefix = getattr(self.inner.model, "continuing_subword_prefix", None)
        if prefix:
            made = np.array([piece.startswith(prefix) and piece != prefix for piece in self.pieces])
        else:
            made = np.array([not piece.startswith(_WORD_STARTS) for piece in self.pieces])
        made[self.special_ids] = False
        return made

    @cached_property
    def sha256(self) -> str:
        """Of all that decides the ids: two tokenizers with equal hashes encode equally."""
        content = self.inner.to_str() + json.dumps(self.special)
        return hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def pieces_sha256(self) -> str:
        """Of the pieces and their roles: tokenizers with equal hashes mean the same by an id."""
        return hashlib.sha256(json.dumps([self.pieces, self.special]).encode()).hexdigest()

    def encode(self, texts: Sequence[str], max_len: int) -> list[Ids]:
        """One array a text, special pieces included, cut to `max_len` pieces, never padded."""
        return [np.array(one.ids, np.int32) for one in self._encode(texts, max_len)]

    def encode_pairs(self, pairs: Sequence[tuple[str, str]], max_len: int) -> tuple[list[Ids], list[Ids]]:
        """(ids, types) of pairs; the longer text of a pair is cut first."""
        made = self._encode(pairs, max_len)
        return [np.array(one.ids, np.int32) for one in made], [np.array(one.type_ids, np.int32) for one in made]

    def count(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """[n]: pieces of each text or pair, special pieces included, nothing cut."""
        return np.array([len(one) for one in self._encode(texts, None)], np.int64)

    def encodings(
        self, texts: Sequence[Any], *, words: bool = False, special: bool = False
    ) -> list[tokenizers.Encoding]:
        """Whole encodings: ids, offsets (characters of the text as it was given), and whose word each piece is.

        words: each text is a list of words. special: with the special pieces. Nothing is cut.
        """
        with self._lock:  # so that no other thread sets a truncation
            try:
                return self.inner.encode_batch(list(texts), is_pretokenized=words, add_special_tokens=special)
            except (TypeError, UnicodeEncodeError) as error:
                raise _not_whole(error) from error

    def decode(self, ids: Iterable[int]) -> str:
        """Readable text of the pieces, without special ones."""
        return str(self.inner.decode([int(number) for number in ids], skip_special_tokens=True))

    def _encode(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], max_len: int | None
    ) -> list[tokenizers.Encoding]:
        with self._lock:  # truncation is a state of the tokenizer
            if max_len is None:
                self.inner.no_truncation()
            else:
                self.inner.enable_truncation(max_len, strategy="longest_first")
            try:
                return self.inner.encode_batch_fast(list(texts))
            except (TypeError, UnicodeEncodeError) as error:
                raise _not_whole(error) from error
            finally:
                self.inner.no_truncation()


def _not_whole(error: Exception) -> InputError:
    return InputError("texts", f"cannot be encoded ({error})", "give texts of whole characters")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, f"broken JSON ({error})", "train or fetch the tokenizer again") from error
    if not isinstance(content, dict):
        raise InputError(path, f"expected an object, found {type(content).__name__}", "fetch the tokenizer again")
    return content


def _roles(vocabulary: dict[str, int], config: dict[str, Any], place: object) -> Special:
    """By the names in the config, then by BERT's and RoBERTa's names."""
    found: dict[str, int] = {}
    for role in Special._fields:
        named = config.get(f"{role}_token")
        named = named.get("content") if isinstance(named, dict) else named
        for piece in (named, _BERT[role], _ROBERTA[role]):
            if isinstance(piece, str) and piece in vocabulary:
                found[role] = vocabulary[piece]
                break
    missing = [role for role in Special._fields if role not in found]
    if missing:
        problem = f"no special piece for {', '.join(missing)}"
        raise InputError(place, problem, "encoders need a tokenizer of BERT's or RoBERTa's kind")
    return Special(**found)


def _bert(model: models.WordPiece, lowercase: bool) -> Tokenizer:
    inner = Tokenizer(model)
    inner.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(prefix=PREFIX)
    inner.add_special_tokens([piece for piece in _BERT.values() if inner.token_to_id(piece) is not None])
    sep, cls = inner.token_to_id(_BERT["sep"]), inner.token_to_id(_BERT["cls"])
    if sep is not None and cls is not None:
        inner.post_processor = processors.BertProcessing((_BERT["sep"], sep), (_BERT["cls"], cls))
    return inner


def _roberta(model: models.BPE) -> Tokenizer:
    inner = Tokenizer(model)
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([piece for piece in _ROBERTA.values() if piece != "<mask>"])
    inner.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True)])
    ends = [(piece, inner.token_to_id(piece) or 0) for piece in (_ROBERTA["sep"], _ROBERTA["cls"])]
    inner.post_processor = processors.RobertaProcessing(ends[0], ends[1], add_prefix_space=False)
    return inner
