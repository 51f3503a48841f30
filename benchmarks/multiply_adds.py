"""The multiply-adds of an encoder that is trained or asked, counted by `model/cost.py` as it runs then."""

from slimbert.model import EncoderConfig, ModelConfig
from slimbert.model.cost import cost
from slimbert.model.heads import MaskedLmConfig, ReplacedTokenConfig
from slimbert.parts.narrow import NarrowConfig


def of_masked_lm(encoder: EncoderConfig, *, length: int, few: int) -> int:
    """Of a forward pass over a text of `length` tokens of which `few` are predicted; training takes three times as
    many. A narrow encoder keeps the first row beside them, which answers for nothing."""
    rows = few + any(isinstance(step, NarrowConfig) for step in encoder.layers)
    model = _with(encoder, MaskedLmConfig())
    parts = {part.name: part.macs for part in cost(model, length=length, keep=rows, training=True)}
    return sum(parts.values()) - parts["head"] + parts["head"] * few // rows


def of_replaced_tokens(encoder: EncoderConfig, generator: EncoderConfig, *, length: int, few: int) -> int:
    """Of a forward pass of both models: the discriminator answers for every token, the generator for `few`."""
    found = cost(_with(encoder, ReplacedTokenConfig()), length=length, training=True)
    found += cost(_with(generator, MaskedLmConfig()), length=length, keep=few, training=True)
    return sum(part.macs for part in found)


def of_rows(encoder: EncoderConfig, *, length: int, rows: int | None) -> int:
    """Of an answer without a head, `rows` of which are wanted; None: all."""
    return sum(part.macs for part in cost(ModelConfig(encoder=encoder), length=length, keep=rows))


def _with(encoder: EncoderConfig, head: MaskedLmConfig | ReplacedTokenConfig) -> ModelConfig:
    return ModelConfig(encoder=encoder, head=head)
