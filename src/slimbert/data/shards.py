"""A prepared corpus: flat files of token rows, mapped into memory, with the documents' places and a manifest of hashes.

    manifest.json              what is here, with the size and SHA-256 of every file; written last
    tokenizer/                 the tokenizer that made the tokens
    train-00000.bin            uint16 or uint32, little-endian, [rows, seq_len]; a row: [CLS], then tokens
    train-00000.docs.bin       int64: the places in that file at which documents begin
    validation-00000.bin ...   the same, if a share of validation was asked for

Documents follow one another, each closed by [SEP], and go on in the next row; only the last row of a split is padded.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..atomic import check_file
from ..errors import InputError
from .tokenizer import TextTokenizer

FORMAT, VERSION = "slimbert-shards", 1
_AGAIN = "prepare the corpus again"


class Shards:
    """One split of a prepared corpus; reads only the rows that are asked for."""

    def __init__(self, folder: Path, split: str, manifest: dict[str, Any]):
        """Use `open`, which checks."""
        self.folder, self.split, self.manifest = folder, split, manifest
        self.seq_len: int = manifest["seq_len"]
        self.vocab_size: int = manifest["vocab_size"]
        self.sha256: str = manifest["sha256"]
        self.tokenizer_folder = folder / "tokenizer"
        shards = manifest["splits"][split]["shards"]
        self._ends = np.cumsum([shard["rows"] for shard in shards])
        names = [[folder / file["name"] for file in shard["files"]] for shard in shards]
        self._tokens = [
            np.memmap(tokens, manifest["dtype"], mode="r", shape=(shard["rows"], self.seq_len))
            for (tokens, _), shard in zip(names, shards)
        ]
        self._starts = [  # an empty file cannot be mapped
            np.memmap(docs, "<i8", mode="r") if docs.stat().st_size else np.zeros(0, np.int64) for _, docs in names
        ]

    @classmethod
    def open(cls, folder: str | Path, *, split: str = "train", verify: bool = True) -> "Shards":
        """Sizes are always compared with the manifest; `verify` also hashes every file of the split (about 1 GB/s).

        InputError names a missing or damaged file, or the splits there are.
        """
        path = Path(folder)
        manifest = read_manifest(path)
        if split not in manifest["splits"]:
            problem = f"no split {split!r}; there is {', '.join(manifest['splits'])}"
            raise InputError(path, problem, "prepare with a share of validation, as in --validation 0.01")
        check_files(path, manifest, [split], verify=verify)
        return cls(path, split, manifest)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def tokenizer(self) -> TextTokenizer:
        """The tokenizer that made the tokens. Raises InputError where another one has taken its place."""
        found = TextTokenizer.load(self.tokenizer_folder)
        if self.manifest.get("pieces_sha256", found.pieces_sha256) != found.pieces_sha256:
            raise InputError(self.tokenizer_folder, "not the tokenizer that made these tokens", _AGAIN)
        return found

    def rows(self, index: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """index: [n] row numbers -> [n, seq_len] ids."""
        wanted, shard_of, base = self._locate(index)
        made = np.empty((len(wanted), self.seq_len), np.int64)
        for shard in np.unique(shard_of):
            here = shard_of == shard
            made[here] = self._tokens[shard][wanted[here] - base[shard]]
        return made

    def segments(self, index: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """index: [n] -> [n, seq_len]: the number, within its row, of each token's document.

        [CLS] belongs to the first document of the row, padding to the last.
        """
        wanted, shard_of, base = self._locate(index)
        marks = np.zeros((len(wanted), self.seq_len), np.int32)
        for shard in np.unique(shard_of):
            here = np.flatnonzero(shard_of == shard)
            origin = (wanted[here] - base[shard]) * self.seq_len
            starts = self._starts[shard]
            low = np.searchsorted(starts, origin + 2)  # one that begins right behind [CLS] is number 0 anyway
            counts = np.searchsorted(starts, origin + self.seq_len) - low
            row = np.repeat(np.arange(len(here)), counts)
            nth = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
            marks[here[row], starts[low[row] + nth] - origin[row]] = 1
        return marks.cumsum(axis=1, dtype=np.int32)

    def documents(self) -> npt.NDArray[np.int32]:
        """[rows]: of how many documents each row has tokens."""
        counts = []
        for tokens, starts in zip(self._tokens, self._starts):
            row, place = np.divmod(starts, self.seq_len)
            inside = row[place > 1]  # one that begins right behind [CLS] is number 0
            counts.append(1 + np.bincount(inside, minlength=len(tokens)).astype(np.int32))
        return np.concatenate(counts)

    def _locate(
        self, index: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp], npt.NDArray[np.int64]]:
        """Row numbers, the shard of each, and the first row of every shard; IndexError outside the split."""
        wanted = np.atleast_1d(np.asarray(index, np.int64))
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {len(self)}")
        return wanted, np.searchsorted(self._ends, wanted, side="right"), np.concatenate([[0], self._ends[:-1]])


def read_manifest(folder: Path) -> dict[str, Any]:
    """manifest.json, checked by the hash that it carries of itself; InputError when it is missing or damaged."""
    path = folder / "manifest.json"
    if not folder.is_dir():
        raise InputError(folder, "no such data folder", "make one by `slimbert prepare CORPUS --out ...`")
    if not path.is_file():
        unfinished = (folder / ".parts").is_dir()
        problem = "`slimbert prepare` did not finish here" if unfinished else "holds no manifest.json"
        remedy = "start it again, it goes on where it stopped" if unfinished else "name a folder that prepare made"
        raise InputError(folder, problem, remedy)
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] == FORMAT and manifest["version"] > VERSION:
            raise InputError(path, f"version {manifest['version']}, this slimbert knows {VERSION}", "update slimbert")
        sound = manifest["format"] == FORMAT and manifest["sha256"] == manifest_hash(manifest)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, f"damaged ({type(error).__name__}: {error})", _AGAIN) from error
    if not sound:
        raise InputError(path, "damaged: its content does not match its own hash", _AGAIN)
    return dict(manifest)


def manifest_hash(manifest: dict[str, Any]) -> str:
    """Of all but the hash itself."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_files(folder: Path, manifest: dict[str, Any], splits: list[str], *, verify: bool) -> None:
    """InputError for a file that is missing, has another size, or (verify) another hash than in the manifest."""
    for split in splits:
        for shard in manifest["splits"][split]["shards"]:
            for file in shard["files"]:
                sha256 = file["sha256"] if verify else None
                check_file(folder / file["name"], file["bytes"], sha256, _AGAIN)
