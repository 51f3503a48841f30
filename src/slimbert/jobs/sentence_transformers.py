"""The files by which sentence-transformers reads a run folder: which modules follow one another, and how they pool.

Its Transformer module loads our model through AutoModel, so `import slimbert.hf` comes first.
"""

from pathlib import Path

from ..atomic import write_json
from ..model.heads import EmbedConfig

TYPE = "sentence_transformers.models"


def write_modules(folder: Path, head: EmbedConfig, *, dim: int, max_len: int) -> None:
    """modules.json and what it names, beside the model's own files."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules += [("2_Normalize", "Normalize")] * head.normalise
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"{TYPE}.{name}"} for i, (path, name) in enumerate(modules)
    ]
    pooling = {
        "word_embedding_dimension": dim,
        "pooling_mode_cls_token": head.pool == "cls",
        "pooling_mode_mean_tokens": head.pool == "mean",
    }
    files = {
        "modules.json": listed,
        "sentence_bert_config.json": {"max_seq_length": max_len, "do_lower_case": False},
        "1_Pooling/config.json": pooling,
    }
    for path, _ in modules:
        (folder / path).mkdir(exist_ok=True)
    for name, content in files.items():
        write_json(folder / name, content)
