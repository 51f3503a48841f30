"""What exists: encoders by name, and by the notation of NarrowBERT for the order of sublayers.

bert_tiny ... bert_large: the sizes of Turc et al. 2019, arXiv:1908.08962 and Devlin et al. 2018, arXiv:1810.04805:
width, layers, width / 64 heads of 64, hidden 4 x width. groupbert_tiny ... groupbert_large: the same widths and depths,
layers of Chelombiev et al. 2021, arXiv:2106.05822. electra_..., convbert_...: their papers'. Dropout is 0
(pretraining); fine-tuning sets its own.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from ..config import MixerConfig, StepConfig, dump, merge, sugar
from ..errors import InputError
from ..parts.attention import AttentionConfig
from ..parts.convolution import ConvolutionConfig
from ..parts.embedding import AbsoluteConfig
from ..parts.mixed import MixedAttentionConfig, reduced
from ..parts.mlp import MlpConfig
from ..parts.narrow import NarrowConfig
from ..parts.norm import LayerNormConfig
from ..parts.residual import LayerConfig, Wiring
from .encoder import EncoderConfig, mixes_tokens

PRESETS: dict[str, Callable[[], EncoderConfig]] = {}


def preset(function: Callable[[], EncoderConfig]) -> Callable[[], EncoderConfig]:
    """Register an encoder under the name of the function that makes it."""
    PRESETS[function.__name__] = function
    return function


def bert(*, layers: int, dim: int) -> EncoderConfig:
    """BERT of any size with heads of 64: Devlin et al. 2018, arXiv:1810.04805."""
    return from_pattern(f"{layers}{{sf}}", dim=dim)


@preset
def bert_tiny() -> EncoderConfig:
    """2 layers of width 128: Turc et al. 2019, arXiv:1908.08962."""
    return bert(layers=2, dim=128)


@preset
def bert_mini() -> EncoderConfig:
    """4 layers of width 256: Turc et al. 2019, arXiv:1908.08962."""
    return bert(layers=4, dim=256)


@preset
def bert_small() -> EncoderConfig:
    """4 layers of width 512: Turc et al. 2019, arXiv:1908.08962."""
    return bert(layers=4, dim=512)


@preset
def bert_medium() -> EncoderConfig:
    """8 layers of width 512: Turc et al. 2019, arXiv:1908.08962."""
    return bert(layers=8, dim=512)


@preset
def bert_base() -> EncoderConfig:
    """12 layers of width 768: Devlin et al. 2018, arXiv:1810.04805."""
    return bert(layers=12, dim=768)


@preset
def bert_large() -> EncoderConfig:
    """24 layers of width 1024: Devlin et al. 2018, arXiv:1810.04805."""
    return bert(layers=24, dim=1024)


@preset
def bert_deep_small() -> EncoderConfig:
    """12 layers of width 256: the shape of our benchmarks, not of a paper."""
    return bert(layers=12, dim=256)


@preset
def narrowbert_base() -> EncoderConfig:
    """NarrowBERT with sparse queries, 2 of 12 layers wide: Li et al. 2023, arXiv:2301.04761; their code's default."""
    return from_pattern("2{sf}:10{sf}", dim=768)


@preset
def narrowbert_context_first_base() -> EncoderConfig:
    """NarrowBERT, context first: Li et al. 2023, arXiv:2301.04761; that 2 layers stay whole is our choice."""
    return from_pattern("2{sf},10{s}:10{f}", dim=768)


def electra(*, dim: int, width: int | None = None) -> EncoderConfig:
    """ELECTRA: BERT's layers, 12 of them with heads of 64, behind a token table of width `width`.

    Clark et al. 2020, arXiv:2003.10555.
    """
    encoder = bert(layers=12, dim=dim)
    return dataclasses.replace(encoder, embedding=AbsoluteConfig(width=width))


@preset
def electra_small() -> EncoderConfig:
    """12 layers of width 256 behind a table of width 128: Clark et al. 2020, arXiv:2003.10555."""
    return electra(dim=256, width=128)


@preset
def electra_base() -> EncoderConfig:
    """12 layers of width 768, those of bert_base: Clark et al. 2020, arXiv:2003.10555."""
    return electra(dim=768)


def convbert(*, dim: int, heads: int, width: int | None = None, groups: int = 1) -> EncoderConfig:
    """ConvBERT: 12 layers in which half of `heads` attend and as many convolve; `groups` of the feed-forward maps.

    Jiang et al. 2020, arXiv:2008.02496, and its published code.
    """
    attend, head_dim = reduced(dim, heads)
    mixed = MixedAttentionConfig(heads=attend, head_dim=head_dim)
    layer = LayerConfig(mix=(mixed, MlpConfig(hidden=4 * dim, groups=groups, up_groups=groups)))
    return EncoderConfig(dim=dim, embedding=AbsoluteConfig(width=width), layers=(layer,) * 12)


@preset
def convbert_small() -> EncoderConfig:
    """12 layers of width 256, 2 heads of 64 attend and 2 convolve: Jiang et al. 2020, arXiv:2008.02496."""
    return convbert(dim=256, heads=4, width=128)


@preset
def convbert_medium_small() -> EncoderConfig:
    """12 layers of width 384, 4 heads of 48 and 4, feed-forward in 2 groups: Jiang et al. 2020, arXiv:2008.02496."""
    return convbert(dim=384, heads=8, width=128, groups=2)


@preset
def convbert_base() -> EncoderConfig:
    """12 layers of width 768, 6 heads of 64 attend and 6 convolve: Jiang et al. 2020, arXiv:2008.02496."""
    return convbert(dim=768, heads=12)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a pattern needs to know to make its mixers."""

    dim: int = 256
    head_dim: int = 64
    hidden: int | None = None  # None: 4 x dim


def _mixed(sizes: Sizes) -> MixedAttentionConfig:
    """Half of the heads that `s` would have, and as many that convolve."""
    nominal = max(1, sizes.dim // sizes.head_dim)
    heads, head_dim = reduced(nominal * sizes.head_dim, nominal)
    return MixedAttentionConfig(heads=heads, head_dim=head_dim)


# One letter is one kind of mixer. NarrowBERT: Li et al. 2023, arXiv:2301.04761.
LETTERS: dict[str, Callable[[Sizes], MixerConfig]] = {
    "s": lambda sizes: AttentionConfig(heads=max(1, sizes.dim // sizes.head_dim), head_dim=sizes.head_dim),
    "f": lambda sizes: MlpConfig(hidden=sizes.hidden or 4 * sizes.dim),
    "c": lambda sizes: ConvolutionConfig(),
    "g": lambda sizes: MlpConfig(hidden=sizes.hidden or 4 * sizes.dim, groups=4, mixer=True),
    "m": _mixed,
}
PRE_NORM = "cg"  # letters of GroupBERT, which is pre-norm: Chelombiev et al. 2021, arXiv:2106.05822
NORMS: dict[Wiring, LayerNormConfig] = {"post": LayerNormConfig(), "pre": LayerNormConfig(eps=1e-3)}  # as published
ITEM = re.compile(r"(\d*)(?:\{([a-z]+)\}|([a-z]+))")


def from_pattern(
    text: str,
    *,
    dim: int = 256,
    head_dim: int = 64,
    hidden: int | None = None,
    vocab: int = 30522,
    max_len: int = 512,
    wiring: Wiring | None = None,
) -> EncoderConfig:
    """An encoder in the notation `part [":" part]`, part = item {"," item}, item = [count] letters or [count]{letters}.

    Each item is a layer, repeated `count` times; ":" narrows, with memory where what follows reads other positions.

    `wiring` None: a pattern with a letter of GroupBERT (PRE_NORM) is wired as GroupBERT, any other as BERT; that is for
    the whole encoder: `pre` brings a final norm and an eps of 1e-3 in every norm, `post` neither.
    """
    sizes = Sizes(dim=dim, head_dim=head_dim, hidden=hidden)
    if dim % head_dim and dim > head_dim:
        raise InputError("head_dim", f"{head_dim} does not divide the width {dim}", "--set head_dim=... that does")
    wired: Wiring = wiring or ("pre" if set(text) & set(PRE_NORM) else "post")
    sides = [_layers(part, text, sizes, wired) for part in text.replace(" ", "").split(":")]
    if len(sides) > 2:
        raise InputError(f"pattern {text!r}", "more than one ':'", "narrow once")
    layers = sides[0]
    if len(sides) == 2:
        layers = (*sides[0], NarrowConfig(memory=mixes_tokens(sides[1])), *sides[1])
    norm = NORMS[wired]
    embedding = AbsoluteConfig(vocab=vocab, max_len=max_len, norm=norm)
    return EncoderConfig(dim=dim, embedding=embedding, layers=layers, final_norm=norm if wired == "pre" else None)


def is_pattern(text: str) -> bool:
    """Whether `text` is meant as a pattern: it has a brace, a colon, or only counts and known letters."""
    return bool(re.search(r"[{}:]", text)) or bool(re.fullmatch(rf"[\d,{''.join(LETTERS)}]+", text))


def _layers(part: str, text: str, sizes: Sizes, wiring: Wiring) -> tuple[StepConfig, ...]:
    layers: list[StepConfig] = []
    for item in part.split(","):
        found = ITEM.fullmatch(item)
        if not found:
            raise InputError(f"pattern {text!r}", f"cannot read {item!r}", "write e.g. 12{sf} or 2{sf}:10{sf}")
        letters = found[2] or found[3]
        for letter in letters:
            if letter not in LETTERS:
                raise InputError(
                    f"pattern {text!r}", f"no mixer has the letter {letter!r}", f"known: {', '.join(LETTERS)}"
                )
        count = int(found[1] or 1)
        if not 1 <= count <= 1000:
            raise InputError(f"pattern {text!r}", f"{count} layers", "repeat 1 to 1000 times")
        mix = tuple(LETTERS[letter](sizes) for letter in letters)
        layers += [LayerConfig(mix=mix, wiring=wiring, norm=NORMS[wiring])] * count
    return tuple(layers)


@sugar("preset")
def _preset(data: dict[str, Any], path: str) -> dict[str, Any]:
    name = data["preset"]
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(path, f"no preset is called {name!r}"[:120], f"known: {', '.join(PRESETS)}")
    return merge(dump(PRESETS[name]()), {k: v for k, v in data.items() if k != "preset"})


@sugar("pattern")
def _pattern(data: dict[str, Any], path: str) -> dict[str, Any]:
    names = ("dim", "head_dim", "hidden", "vocab", "max_len")
    sizes, wiring = {name: data[name] for name in names if name in data}, data.get("wiring")
    rest = {k: v for k, v in data.items() if k not in (*names, "wiring", "pattern")}
    if wiring not in (None, "post", "pre"):
        raise InputError(f"{path.rpartition('.')[0]}.wiring", f"{wiring!r} is neither post nor pre", "mend the value")
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{path.rpartition('.')[0]}.{name}", f"{value!r} is not a size", "give a whole number")
    return merge(dump(from_pattern(str(data["pattern"]), wiring=wiring, **sizes)), rest)


def groupbert(*, layers: int, dim: int) -> EncoderConfig:
    """GroupBERT of any size: Chelombiev et al. 2021, arXiv:2106.05822. A layer costs 1.58 times BERT's of its width."""
    return from_pattern(f"{layers}{{cgsg}}", dim=dim)


@preset
def groupbert_tiny() -> EncoderConfig:
    """2 layers of width 128: bert_tiny with GroupBERT's layers."""
    return groupbert(layers=2, dim=128)


@preset
def groupbert_mini() -> EncoderConfig:
    """4 layers of width 256: bert_mini with GroupBERT's layers."""
    return groupbert(layers=4, dim=256)


@preset
def groupbert_small() -> EncoderConfig:
    """4 layers of width 512: bert_small with GroupBERT's layers."""
    return groupbert(layers=4, dim=512)


@preset
def groupbert_medium() -> EncoderConfig:
    """8 layers of width 512: Chelombiev et al. 2021, arXiv:2106.05822."""
    return groupbert(layers=8, dim=512)


@preset
def groupbert_base() -> EncoderConfig:
    """12 layers of width 768: Chelombiev et al. 2021, arXiv:2106.05822."""
    return groupbert(layers=12, dim=768)


@preset
def groupbert_large() -> EncoderConfig:
    """24 layers of width 1024: Chelombiev et al. 2021, arXiv:2106.05822."""
    return groupbert(layers=24, dim=1024)


@preset
def groupbert_lite() -> EncoderConfig:
    """groupbert_base with one feed-forward network a layer: 1.09 times the cost of bert_base. Ours, not of a paper."""
    return from_pattern("12{csg}", dim=768)
