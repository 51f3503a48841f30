"""A model as a folder: config.json and model.safetensors, read by us and by transformers' AutoModel alike.

config.json holds the complete config of the model and, beside it, the few names that transformers expects. The weights
carry a hash of their bytes, so that a flipped bit is found; nothing is ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..atomic import check_hashed, write_atomically, write_hashed
from ..config import dump, load
from ..errors import InputError
from .model import Model, ModelConfig, fill, skeleton

FORMAT = 1
ARCHITECTURES = {
    "masked_lm": "SlimbertForMaskedLM",
    "sequence": "SlimbertForSequenceClassification",
    "token": "SlimbertForTokenClassification",
    "span": "SlimbertForQuestionAnswering",
}
PROBLEMS = {  # as transformers calls what a head of sequences answers
    "class": "single_label_classification",
    "labels": "multi_label_classification",
    "number": "regression",
}


def save_model(model: Model, folder: str | Path, *, extra: Mapping[str, Any] | None = None) -> Path:
    """Write `model` to `folder` (each file written aside, synced, renamed); `extra` are further keys of config.json."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomically(path / "model.safetensors", serialised(tensors))
    text = json.dumps(describe(model.config) | dict(extra or {}), indent=2, ensure_ascii=False)
    write_hashed(path, {"config.json": (text + "\n").encode()})
    return path


def load_model(folder: str | Path) -> Model:
    """The model of a folder, in float32 on the CPU, in evaluation mode.

    Raises InputError where a file is missing, cut short, changed, or does not fit its config.
    """
    path = Path(folder)
    config = load_config(path)
    tensors = read_tensors(path / "model.safetensors")
    model = skeleton(config)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if wanted != found:
        name = next(iter(wanted.keys() ^ found.keys()), None) or next(n for n in wanted if wanted[n] != found[n])
        problem = f"{name!r} is {found.get(name, 'missing')}, its config asks for {wanted.get(name, 'no such tensor')}"
        raise InputError(path / "model.safetensors", problem, "write the folder again, or mend config.json")
    check_hashed(path, ["config.json"])
    whole = {name: t.to(torch.float32 if t.is_floating_point() else t.dtype, copy=True) for name, t in tensors.items()}
    return fill(model, whole).eval()


def load_config(folder: str | Path) -> ModelConfig:
    """The ModelConfig that stands in a folder's config.json."""
    path = Path(folder) / "config.json"
    data = read_description(folder)
    if data.get("format", FORMAT) != FORMAT:
        raise InputError(path, f"format {data['format']!r}, this version reads {FORMAT}", "update slimbert")
    return load(ModelConfig, data.get("model"), f"{path}: model")


def model_type(folder: str | Path) -> str | None:
    """What kind of model a folder's config.json names: slimbert, bert, ...; None where it names none."""
    found = read_config(Path(folder)).get("model_type")
    return found if isinstance(found, str) else None


def read_description(folder: str | Path) -> dict[str, Any]:
    """All of config.json of a slimbert model folder."""
    data = read_config(Path(folder))
    if data.get("model_type") != "slimbert":
        problem = f"a model of type {data.get('model_type')!r}, not slimbert"
        raise InputError(Path(folder) / "config.json", problem, "read it with `slimbert convert`")
    return data


def is_ours(folder: str | Path) -> bool:
    """Whether a model folder of slimbert stands there."""
    return (Path(folder) / "config.json").is_file() and model_type(folder) == "slimbert"


def task_of(folder: str | Path) -> dict[str, Any] | None:
    """What a folder of ours says of the task it was fine-tuned for; None elsewhere."""
    return read_description(folder).get("task") if is_ours(folder) else None


def read_config(folder: Path) -> dict[str, Any]:
    """All of config.json of a folder, whoever wrote it."""
    path = folder / "config.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "name a model or run folder" if folder.is_dir() else "check the path"
        raise InputError(folder, "no model here (config.json is missing)", remedy) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(path, f"not readable as JSON ({error})"[:200], "write the folder again") from None
    if not isinstance(data, dict):
        raise InputError(path, "not a JSON object", "write the folder again")
    return data


def describe(config: ModelConfig) -> dict[str, Any]:
    """What config.json says: names for transformers first, then the complete config."""
    encoder = config.encoder
    labels = getattr(config.head, "labels", ())
    out: dict[str, Any] = {
        "model_type": "slimbert",
        "architectures": [ARCHITECTURES.get(answers_like(dump(config.head) or {}), "SlimbertModel")],
        "format": FORMAT,
        "hidden_size": encoder.dim,
        "num_hidden_layers": encoder.depth(),
        "num_attention_heads": max(encoder.most_heads(), 1),
        "vocab_size": encoder.embedding.vocab,
        "max_position_embeddings": encoder.embedding.max_len,
        "dtype": "float32",
    }
    if config.special is not None:
        out["pad_token_id"] = config.special.pad
    if labels:
        out["id2label"] = {str(i): label for i, label in enumerate(labels)}
        out["label2id"] = {label: i for i, label in enumerate(labels)}
    answer = getattr(config.head, "answer", None)
    if answer in PROBLEMS:
        out["problem_type"] = PROBLEMS[answer]
    return out | {"model": dump(config)}


def answers_like(head: Mapping[str, Any]) -> str:
    """The kind of a head (its plain config); of one that answers after every layer, the kind that answers alike."""
    kind = str(head.get("kind") or "")
    if kind in ("dact", "exits"):
        return "token" if head.get("answer") == "tags" else "sequence"
    return kind


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file; InputError where it is missing, cut short or changed."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise InputError(path, "missing", "a model folder holds config.json and model.safetensors") from None
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise InputError(path, f"cut short or not safetensors ({error})"[:200], "copy or write it again") from None
    if "sha256" in metadata and metadata["sha256"] != digest(tensors):
        raise InputError(path, "its bytes are not those that were written", "copy or write it again")
    return tensors


def serialised(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of model.safetensors, equal for equal tensors: safetensors itself writes metadata in random order."""
    made = save(dict(tensors), metadata={"format": "pt", "sha256": digest(tensors)})
    size = int.from_bytes(made[:8], "little")
    header = json.loads(made[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = text.ljust(-(-len(text) // 8) * 8)  # what follows stays aligned
    return len(padded).to_bytes(8, "little") + padded + made[8 + size :]


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes, types and bytes."""
    hashed = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        hashed.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        content: Any = value.contiguous().flatten().view(torch.uint8).numpy()
        hashed.update(content)
    return hashed.hexdigest()
