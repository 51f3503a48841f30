"""From a corpus to what pretraining reads: a tokenizer, and token shards."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..data.prepare import Report, Tally
from ..data.prepare import prepare as write_shards
from ..data.readers import documents
from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..train.progress import Progress
from .models import must_be_free


class TokenizerMade(NamedTuple):
    """A tokenizer trained on `documents` documents; `skipped` names the records left out."""

    tokenizer: str
    vocab_size: int
    documents: int
    skipped: tuple[str, ...]


def train_tokenizer(
    corpus: Sequence[str | Path],
    *,
    out: str | Path,
    vocab_size: int = 30522,
    lowercase: bool = True,
    min_frequency: int = 2,
    text_column: str | None = None,
    skip_bad: bool = False,
    quiet: bool = False,
) -> TokenizerMade:
    """Train a WordPiece tokenizer and save it in `out`, a new or empty folder. Raises InputError on bad or no text."""
    must_be_free(out)
    skipped: list[str] = []
    seen = 0

    with Progress(None, unit="document", enabled=not quiet) as progress:

        def bad(error: InputError) -> None:
            skipped.append(str(error))
            progress.note(f"skipped: {error}")

        def counted() -> Iterator[str]:
            nonlocal seen
            for text in documents(corpus, text_column=text_column, skip_bad=skip_bad, on_bad=bad):
                seen += 1
                progress.update(seen)
                yield text

        made = TextTokenizer.train(counted(), vocab_size, lowercase=lowercase, min_frequency=min_frequency)
    made.save(out)
    return TokenizerMade(str(out), made.vocab_size, seen, tuple(skipped))


def prepare(
    corpus: Sequence[str | Path],
    tokenizer: str | Path,
    *,
    out: str | Path,
    seq_len: int = 128,
    validation: float = 0.0,
    dedup: bool = False,
    text_column: str | None = None,
    skip_bad: bool = False,
    workers: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Report:
    """Write packed token shards of `corpus` to `out`; goes on where an interrupted one was."""
    with Progress(None, unit="document", enabled=not quiet) as progress:

        def told(now: Tally) -> None:
            speed = now.tokens / max(now.seconds, 1e-9)
            progress.update(
                now.documents, tokens=now.tokens, tokens_per_second=speed, file=f"{now.files}/{now.of_files}"
            )

        return write_shards(
            corpus,
            TextTokenizer.load(tokenizer),
            seq_len=seq_len,
            out=out,
            validation=validation,
            dedup=dedup,
            skip_bad=skip_bad,
            text_column=text_column,
            workers=workers,
            seed=seed,
            progress=told,
        )
