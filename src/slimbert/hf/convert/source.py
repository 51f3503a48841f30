"""Where foreign weights come from: a folder, or a name on the Hub. Only safetensors are read, nothing is unpickled."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from ... import atomic
from ...errors import InputError
from ...model.folder import read_tensors

PICKLED = ("pytorch_model*.bin", "*.pt", "*.ckpt", "tf_model.h5", "flax_model.msgpack")
RESAVE = "re-save it where it is trusted: AutoModel.from_pretrained(...).save_pretrained(...) writes model.safetensors"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
FILES = ("*.json", "model*.safetensors", "vocab.txt", "merges.txt")


def folder_of(name: str | Path) -> Path:
    """The folder `name`, or that of a snapshot from the Hub where there is no such path.

    Raises InputError where it is neither, or where the Hub cannot be reached.
    """
    path = Path(name)
    if path.is_dir():
        return path
    mistyped = path.parent != Path() and path.parent.is_dir()  # a slip in a path is no reason to ask the network
    if path.exists() or mistyped or not HUB_NAME.fullmatch(str(name)):
        raise InputError(name, "not a model folder", "name a folder with config.json, or a model on the Hub")
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        remedy = "check the path; for models on the Hub install slimbert[hub]"
        raise InputError(name, "no such folder", remedy) from None
    try:
        return Path(hub.snapshot_download(str(name), allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:  # all that the Hub's library raises derives from these
        raise InputError(name, *_refusal(hub, error)) from None


def _refusal(hub: Any, error: Exception) -> tuple[str, str]:
    """(problem, remedy) in plain words of why the Hub gave no folder."""
    if hub.constants.HF_HUB_OFFLINE:
        return "no such folder, and HF_HUB_OFFLINE keeps the Hub out", "check the path, or unset HF_HUB_OFFLINE"
    if isinstance(error, hub.errors.GatedRepoError):
        return "its owner asks for consent on the Hub", "give it there and log in with `hf auth login`"
    if isinstance(error, hub.errors.RepositoryNotFoundError | hub.errors.HFValidationError):
        return "no such folder, and no such model on the Hub", "check the name"
    if atomic.is_full(error):
        return "the disk is full", "free some space; the download goes on where it stopped"
    return "no such folder, and the Hub cannot be reached", "check the path or the connection"


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Every tensor of model.safetensors, or of the shards that its index names."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.exists():
        return read_tensors(whole)
    if not index.exists():
        found = next((file.name for pattern in PICKLED for file in sorted(folder.glob(pattern))), None)
        if found:
            raise InputError(folder, f"its weights are in {found}, which is not read (it may run code)", RESAVE)
        raise InputError(whole, "missing", "a model folder holds config.json and model.safetensors")
    places = _weight_map(index)
    tensors: dict[str, Tensor] = {}
    for file in sorted(set(places.values())):
        tensors |= read_tensors(folder / file)
    lost = sorted(places.keys() - tensors.keys())
    if lost:
        raise InputError(index, f"{lost[0]!r} is not in {places[lost[0]]}", "copy or download the folder again")
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    """tensor -> file of the same folder."""
    try:
        places: Any = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        inside = all(isinstance(file, str) and Path(file).name == file for file in places.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(index, f"not an index of shards ({error!r})"[:200], "copy it again") from None
    if not places or not inside:
        raise InputError(index, "its weight_map names no files of this folder", "copy or download the folder again")
    return dict(places)
