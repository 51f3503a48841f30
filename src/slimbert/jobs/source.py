"""Where an encoder comes from: a run or one of its checkpoints, a transformers folder, or a Hub name."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..data.tokenizer import TextTokenizer, has_tokenizer
from ..errors import InputError
from ..model import Model, load_model, skeleton
from ..model.folder import model_type
from ..model.model import fill
from ..parts.mixed import Padding
from ..train import checkpoints
from ..train.recipe import load_recipe, read_recipe
from ..train.run import RECIPE

OWN = "objective.model."  # before the names of the model's tensors in a checkpoint
Prefer = Literal["masked_lm", "pooler"]
Opened = tuple[Model, Path | None, tuple[str, ...]]


def open_model(name: str | Path, *, prefer: Prefer = "masked_lm", padding: Padding = "masked") -> Opened:
    """(model in float32 on the CPU, folder of its tokenizer or None, notes on what was converted or dropped).

    prefer: which head stays where a transformers folder holds both; padding: what its convolutions read there.
    """
    own = _own(Path(name))
    if own is None:
        from ..hf import convert  # only here: our own folders are read without it

        return convert.read(name, prefer=prefer, padding=padding)
    if padding != "masked":
        raise InputError("--padding", f"{name} is ours and has it in config.json", "convert the folder of transformers")
    return own


def _own(folder: Path) -> Opened | None:
    """A run, one of its checkpoints, or a model folder of ours; None: it is something else."""
    if (folder / checkpoints.MANIFEST).is_file():
        return _of_checkpoint(checkpoints.load(folder))
    if (folder / "checkpoints").is_dir() and not (folder / "config.json").exists():
        if (found := checkpoints.newest(folder / "checkpoints")) is None:
            raise InputError(folder, "an unfinished run without a whole checkpoint", "go on with it: --resume")
        model, tokenizer, _ = _of_checkpoint(found)
        return model, tokenizer, (f"an unfinished run: as it stood at step {found.step}", *found.skipped)
    if folder.is_dir() and model_type(folder) == "slimbert":
        return load_model(folder), folder if has_tokenizer(folder) else None, ()
    return None


def _of_checkpoint(found: checkpoints.Checkpoint) -> tuple[Model, Path, tuple[str, ...]]:
    """The model that a checkpoint of pretraining holds; its config and tokenizer stand in the run folder above it."""
    run = found.path.parent.parent
    plain = read_recipe(run / RECIPE)
    if "model" not in plain:
        remedy = f"go on with the run ({run}): --resume; its model stands there at the end"
        raise InputError(found.path, "a checkpoint of fine-tuning holds only the tokens of its data", remedy)
    own = {key.removeprefix(OWN): value for key, value in found.tensors.items() if key.startswith(OWN)}
    bare = skeleton(load_recipe(plain, path=str(run / RECIPE)).model)
    if own.keys() != bare.state_dict().keys():
        raise InputError(found.path, f"does not fit {run / RECIPE}", "leave a run folder as it was written")
    return fill(bare, own).eval(), run, ()


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


class Source(NamedTuple):
    """The model to continue from, its name, and its tokenizer where its folder holds one."""

    name: str
    model: Model
    tokenizer: TextTokenizer | None


def open_source(name: str | Path) -> Source:
    """Any encoder that can be continued: a run, a transformers folder, a Hub name."""
    model, folder, _ = open_model(name)
    return Source(str(name), model, None if folder is None else TextTokenizer.load(folder))


def take(module: Any, source: Any, place: str) -> None:
    """Copy the weights of `source`. Raises InputError with the place where a setting changed a shape."""
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in source.state_dict().items()}
    for key in wanted.keys() | given.keys():
        if wanted.get(key) != given.get(key):
            problem = f"{key} is {given.get(key, 'not there')}, the recipe asks for {wanted.get(key, 'no such tensor')}"
            raise InputError(place, problem, "do not --set what the model to continue from decides")
    module.load_state_dict(source.state_dict())
