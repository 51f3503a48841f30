"""Where an encoder comes from: a run, a transformers folder, or a Hub name."""

from pathlib import Path

from ..data.tokenizer import TextTokenizer
from ..errors import InputError
from ..model import Model, load_model
from ..model.folder import model_type


def open_model(name: str | Path) -> tuple[Model, Path | None, tuple[str, ...]]:
    """(model in float32 on the CPU, folder of its tokenizer or None, notes on what was converted or dropped)."""
    folder = Path(name)
    if folder.is_dir() and model_type(folder) == "slimbert":
        return load_model(folder), folder, ()
    from ..hf import convert  # only here: our own folders are read without it

    return convert.read(name)


def open_encoder(name: str | Path) -> tuple[Model, TextTokenizer, tuple[str, ...]]:
    """A model with its tokenizer. Raises InputError where there is none, or where it has more pieces than the model
    rows."""
    model, folder, notes = open_model(name)
    if folder is None:
        raise InputError(name, "no tokenizer files", "put tokenizer.json or vocab.txt beside the model")
    tokenizer = TextTokenizer.load(folder)
    rows = model.config.encoder.embedding.vocab
    if tokenizer.vocab_size > rows:
        problem = f"the tokenizer has {tokenizer.vocab_size} pieces, the model {rows}"
        raise InputError(name, problem, "use the tokenizer that the model was trained with")
    return model, tokenizer, notes
