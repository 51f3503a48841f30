"""Where an encoder comes from: a run, a transformers folder, or a Hub name."""

from pathlib import Path
from typing import Literal

from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..model import Model, load_model
from ..model.folder import model_type

Prefer = Literal["masked_lm", "pooler"]


def open_model(name: str | Path, *, prefer: Prefer = "masked_lm") -> tuple[Model, Path | None, tuple[str, ...]]:
    """(model in float32 on the CPU, folder of its tokenizer or None, notes on what was converted or dropped).

    prefer: which head stays where a transformers folder holds both.
    """
    folder = Path(name)
    if folder.is_dir() and model_type(folder) == "slimbert":
        return load_model(folder), folder, ()
    from ..hf import convert  # only here: our own folders are read without it

    return convert.read(name, prefer=prefer)


def open_encoder(name: str | Path, *, prefer: Prefer = "masked_lm") -> tuple[Model, TextTokenizer, tuple[str, ...]]:
    """As `open_model`, with the tokenizer itself. Raises InputError where there is none, or one that does not fit."""
    model, folder, notes = open_model(name, prefer=prefer)
    if folder is None:
        raise InputError(name, "no tokenizer files", "put tokenizer.json or vocab.txt beside the model")
    tokenizer = TextTokenizer.load(folder)
    rows = model.config.encoder.embedding.vocab
    if tokenizer.vocab_size > rows:
        problem = f"the tokenizer has {tokenizer.vocab_size} pieces, the model {rows}"
        raise InputError(name, problem, "use the tokenizer that the model was trained with")
    return model, tokenizer, notes
