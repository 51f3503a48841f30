"""Models in the layouts of transformers, read as ours and written back: BERT, RoBERTa, DistilBERT, ELECTRA, ConvBERT;
and in those that build on transformers: GroupBERT's, and the two that NarrowBERT was published in.

Rules are data (one file per layout), read in both directions. A head for texts, tokens, answers, masked or replaced
words comes along, or else BERT's pooler (which waits for classes); what has no place in our model is dropped, and the
notes say so.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save

from ...atomic import write_atomically, write_json
from ...data.tokenizer import TextTokenizer, has_tokenizer
from ...errors import InputError
from ...model import Model, ModelConfig, SpecialTokens, load_model, skeleton
from ...model.folder import read_config
from ...model.model import usual_special
from ...parts.mixed import MixedAttentionConfig, Padding
from ...parts.narrow import NarrowConfig
from .bert import BERT
from .convbert import CONVBERT
from .distilbert import DISTILBERT
from .electra import ELECTRA
from .groupbert import GROUPBERT
from .layout import Layout
from .narrowbert import FULL_LENGTH, NARROW_BERT, NARROWBERT
from .roberta import ROBERTA
from .shape import KEEP, same
from .source import folder_of, tensors_of
from .tensors import class_rows, gather, kind_of, plain_names, scatter, tied

__all__ = ["LAYOUTS", "caution", "read", "write"]

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (BERT, ROBERTA, DISTILBERT, ELECTRA, CONVBERT, GROUPBERT, NARROW_BERT, NARROWBERT)
}
OLD = {"conv_bert": "convbert"}  # names that a model_type had
SUFFIX = {
    None: "Model",
    "pooler": "Model",
    "masked_lm": "ForMaskedLM",
    "replaced_token": "ForPreTraining",
    "sequence": "ForSequenceClassification",
    "token": "ForTokenClassification",
    "span": "ForQuestionAnswering",
}


def read(
    name: str | Path, *, prefer: Literal["masked_lm", "pooler"] = "masked_lm", padding: Padding = "masked"
) -> tuple[Model, Path | None, tuple[str, ...]]:
    """(model in float32 on the CPU, folder of its tokenizer or None, notes on what was dropped).

    `name` is a folder or a model on the Hub; `prefer`: which stays where there are a masked-LM head and a pooler;
    `padding`: what ConvBERT's convolutions read at padded places, nothing (masked) or as its published code does.
    Raises InputError where the layout is not one of `LAYOUTS`, where weights contradict the config, or where they would
    have to be unpickled.
    """
    folder = folder_of(name)
    config, place = read_config(folder), folder / "config.json"
    tokenizer = folder if has_tokenizer(folder) else None
    if config.get("model_type") == "slimbert":
        return load_model(folder), tokenizer, ()
    layout = LAYOUTS.get(_name(config))
    if layout is None:
        known = f"slimbert reads {', '.join(LAYOUTS)}, and its own"
        raise InputError(f"{place}: model_type", f"{config.get('model_type')!r} is not supported", known)
    if padding != "masked" and not layout.mixed:
        raise InputError("--padding", f"{padding!r}, the layout {layout.name} has no such convolutions", "leave it out")
    shape = layout.shape(config, place)._replace(padding=padding)
    layout = replace(layout, full=shape.full)
    tensors = plain_names(layout, tensors_of(folder))
    kind = kind_of(layout, tensors, " ".join(map(str, config.get("architectures") or ())), prefer)
    classes = kind in ("sequence", "token")
    labels = _labels(config, place, class_rows(layout, tensors, str(kind))) if classes else ()
    one_table = tied(layout, tensors, said=config.get("tie_word_embeddings") is not False)
    head = layout.head(kind, shape, config, labels=labels, tied=one_table)
    special = _special(tokenizer, layout.pad(config, place), shape.vocab)
    ours = ModelConfig(encoder=layout.build(shape), head=head, special=special)
    model = skeleton(ours)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    values, notes = gather(layout, tensors, wanted, kind, folder / "model.safetensors")
    model.load_state_dict(values, strict=True, assign=True)
    return model.eval(), tokenizer, (*layout.notes(config), *notes, *caution(layout.name, ours))


def write(model: Model, folder: str | Path, layout: str | None = None) -> str:
    """Write config.json and model.safetensors as transformers' classes of that layout read them; gives its name.

    None: the first of `LAYOUTS` that can say what the model is. Raises InputError with the place in our config that
    the layout cannot say.
    """
    if layout is not None and layout not in LAYOUTS:
        raise InputError("layout", f"no layout is called {layout!r}", f"known: {', '.join(LAYOUTS)}")
    narrows = model.encoder.narrows
    names = [layout] if layout else [name for name, one in LAYOUTS.items() if one.narrows == narrows]
    chosen, config = _described(model.config, names)
    tensors = scatter(chosen, model.state_dict(), config.pop("head"))
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    write_atomically(path / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_json(path / "config.json", config)
    return chosen.name


def caution(layout: str, config: ModelConfig) -> tuple[str, ...]:
    """Where transformers' answers and ours are meant to differ for such a model."""
    masked = any(getattr(mixer, "padding", "") == "masked" for _, mixer in config.encoder.mixers())
    return (LAYOUTS[layout].note,) if masked and LAYOUTS[layout].note else ()


def _described(config: ModelConfig, names: list[str]) -> tuple[Layout, dict[str, Any]]:
    """The first of the layouts that says the whole config, and its config.json; or the first one's InputError."""
    mixed = any(isinstance(mixer, MixedAttentionConfig) for _, mixer in config.encoder.mixers())
    fitting = [name for name in names if LAYOUTS[name].mixed == mixed]
    if not fitting:
        problem = f"{'mixed' if mixed else 'plain'} attention, which the layout {names[0]} does not have"
        raise InputError("config.encoder", problem, "try another one, or keep the slimbert folder")
    refusals = []
    for name in fitting:
        try:
            return _describe(config, LAYOUTS[name])
        except InputError as error:
            refusals.append(error)
    raise refusals[0]


def _describe(config: ModelConfig, layout: Layout) -> tuple[Layout, dict[str, Any]]:
    """(layout, config.json of it, and under "head" the kind of head); it is read again to see that nothing is lost."""
    narrows = [place for place, step in enumerate(config.encoder.layers) if isinstance(step, NarrowConfig)]
    if layout.narrows != bool(narrows):
        wide = f"nothing narrows, in the layout {layout.name} something does"
        narrow = f"layer {narrows[0]} is a narrowing, the layout {layout.name} has none" if narrows else ""
        raise InputError("config.encoder", narrow or wide, KEEP)
    kind, shape = getattr(config.head, "kind", None), layout.measure(config.encoder)
    remedy = f"the layout {layout.name} cannot say it; try another one, or keep the slimbert folder"
    alone = "write the encoder alone with --encoder-only"
    if kind not in SUFFIX or (kind and kind not in layout.heads):
        raise InputError("config.head", f"the layout {layout.name} has no head of kind {kind}", alone)
    labels, one_table = getattr(config.head, "labels", ()), getattr(config.head, "tied", True)
    special = config.special or SpecialTokens(pad=shape.offset - 1 if layout.offset_after_pad else 0)
    out: dict[str, Any] = {
        "model_type": layout.model_type,
        "architectures": [f"{layout.class_name}{SUFFIX[kind]}"],
        **layout.describe(shape),
        "pad_token_id": special.pad,
        "tie_word_embeddings": one_table,
        "dtype": "float32",
    }
    if kind in ("sequence", "token", "span"):
        out[layout.classifier_dropout] = config.head.dropout  # type: ignore[union-attr]
    if labels:
        out["id2label"] = {str(i): label for i, label in enumerate(labels)}
        out["label2id"] = {label: i for i, label in enumerate(labels)}
    said = layout.shape(out, "config.json")._replace(padding=shape.padding)
    same(config.encoder, layout.build(said), "config.encoder", remedy)
    if kind == "sequence":
        alone = f"fine-tune with --set pool=cls --set hidden={layout.sequence_act or shape.act}, or {alone}"
    same(config.head, layout.head(kind, said, out, labels=labels, tied=one_table), "config.head", alone)
    return replace(layout, full=shape.full), out | {"head": kind}


def _name(config: Mapping[str, Any]) -> str:
    """The layout that a config.json is of: the author of NarrowBERT calls his models bert too."""
    said = str(config.get("model_type"))
    return NARROWBERT.name if said == NARROWBERT.model_type and FULL_LENGTH in config else OLD.get(said, said)


def _labels(config: Mapping[str, Any], place: Path, rows: int) -> tuple[str, ...]:
    """The names of the classes, by number; transformers' own where config.json has none."""
    names = config.get("id2label") or {str(i): f"LABEL_{i}" for i in range(config.get("num_labels") or rows)}
    if not isinstance(names, Mapping) or sorted(names) != sorted(str(i) for i in range(rows)):
        problem = f"{len(names)} labels, the classifier has {rows} rows"
        raise InputError(f"{place}: id2label", problem, "name every class once, from 0")
    return tuple(str(names[str(i)]) for i in range(rows))


def _special(tokenizer: Path | None, pad: int, vocab: int) -> SpecialTokens:
    """The tokens with a role, from the tokenizer; without one BERT's, or only the pad token is known."""
    if tokenizer is None:
        usual = usual_special(vocab)
        alone = SpecialTokens(pad=pad, unk=None, cls=None, sep=None, mask=None)
        return usual if usual is not None and usual.pad == pad else alone
    return SpecialTokens(**TextTokenizer.load(tokenizer).special._asdict())
