"""Replaced token detection: a generator writes other tokens into a text, and the model finds them.

ELECTRA (Clark et al. 2020, arXiv:2003.10555, section 2). The generator predicts the tokens at the chosen places C of a
text x; at each of them, hidden or not, an id is drawn from its softmax, and the discriminator says of every token of
the text x' that results whether it is the original one:

    loss = a mean over C of -log p_G(x_t)  +  b mean over real tokens of BCE(D(x')_t, x'_t != x_t)

with a = 1 and b = 50 as published. An id that was drawn right counts as the original, and no gradient goes through the
draw. Otherwise than in the published code no place is chosen twice (it averages two ids drawn for one place, which is a
third token). That the generator may narrow is ours.
"""

import dataclasses
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..config import Count, HeadConfig, NonNegative, Share, Size, kind
from ..data.masking import Shown
from ..errors import InputError
from ..model.encoder import EncoderConfig
from ..model.heads import ReplacedTokenConfig
from ..model.model import Model
from ..state import Encoded
from .objectives import Batch, Encode, Loss, Objective, of_chosen, with_auxiliary

SHARED = ("token", "position", "token_type", "norm")  # of the embedding: all that has the width of the table
GENERATOR = "generator"  # its folder in a run


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """`encoder` None: the model's, `width` times as wide, with its first `layers` (None: all), narrowed after `narrow`
    of them (None: as the model is). `init_from`: a masked language model to begin with, instead of fresh weights.
    """

    encoder: EncoderConfig | None = None
    head: HeadConfig | None = None
    width: Share = 0.25
    layers: Count | None = None
    narrow: Size | None = None
    init_from: str | None = None


@kind("replaced_tokens", role="objective")
class ReplacedTokensConfig:
    """`share`: whether the generator embeds with the model's own tables and norm. `masked`: how likely a chosen place
    shows [MASK]; otherwise it shows its token (0.85: ELECTRA's published code).
    """

    generator: GeneratorConfig = GeneratorConfig()
    share: Literal["embeddings", "none"] = "embeddings"
    mlm_weight: NonNegative = 1.0
    rtd_weight: NonNegative = 50.0
    masked: Share = 0.85
    head = ReplacedTokenConfig
    draws = True

    @property
    def shown(self) -> Shown:
        return Shown(mask=self.masked, random=0.0)

    def check(self, path: str) -> None:
        if not self.generator.width > 0:
            problem = f"{self.generator.width} is no width"
            raise InputError(f"{path}.generator.width", problem, "give a share of the model's, e.g. 0.25")
        if not self.rtd_weight > 0:
            problem = f"{self.rtd_weight}: the model would learn nothing"
            raise InputError(f"{path}.rtd_weight", problem, "give a positive number, e.g. 50")


class Detected(NamedTuple):
    """What the discriminator says of the tokens of a batch, and what is true of them, [B, S] each."""

    scores: Tensor  # float32, above 0: replaced
    replaced: Tensor  # True where the token is not the original one
    real: Tensor  # True where it is no padding


class ReplacedTokens(Objective):
    """Trains `model`, the discriminator, and a `generator` that is a masked language model.

    A batch is that of `MaskedLm`, with `draws` [B, P]: numbers in [0, 1) that decide what is drawn (without them, those
    of torch's global generator). `real_total` is for the real tokens what `total` is for the chosen ones.
    """

    def __init__(self, model: Model, generator: Model, config: ReplacedTokensConfig = ReplacedTokensConfig()) -> None:
        super().__init__(model)
        self.generator = generator
        self.mlm_weight, self.rtd_weight = config.mlm_weight, config.rtd_weight
        if config.share == "embeddings":
            share_embedding(generator, model)

    def loss(self, encode: Encode, batch: Batch) -> Loss:
        return self.read(encode, batch)[0]

    def read(self, encode: Encode, batch: Batch) -> tuple[Loss, Detected]:
        """The loss, and what the discriminator made of the batch. `encode` is the discriminator's."""
        guesses, guessed = self.guess(batch)
        mlm = of_chosen(guesses, batch)
        ids, replaced = rewritten(batch, guesses)
        others = {name: value for name, value in batch.items() if name != "select"}  # every row answers
        encoded = encode(None, {**others, "input_ids": ids})
        scores = self.model.answer(encoded).squeeze(-1).float()
        real = batch["mask"] if "mask" in batch else torch.ones_like(replaced)
        each = functional.binary_cross_entropy_with_logits(scores, replaced.float(), reduction="none")
        rtd = (each * real).sum() / (batch["real_total"] if "real_total" in batch else real.sum())
        loss = Loss(self.mlm_weight * mlm + self.rtd_weight * rtd, {"mlm": mlm, "rtd": rtd})
        loss = with_auxiliary(with_auxiliary(loss, encoded.state.losses), guessed.state.losses, of="generator_")
        return loss, Detected(scores, replaced, real)

    def guess(self, batch: Batch) -> tuple[Tensor, Encoded]:
        """The generator's logits [B, P, V] at `positions`, and its states, of these rows alone."""
        options = {name: batch[name] for name in ("mask", "types", "segments") if name in batch}
        encoded = self.generator.encoder(batch["input_ids"], select=batch["positions"], **options)
        return self.generator.answer(encoded), encoded

    def beside(self) -> dict[str, Model]:
        return {GENERATOR: self.generator}


def rewritten(batch: Batch, guesses: Tensor) -> tuple[Tensor, Tensor]:
    """(ids [B, S] with a drawn one at every chosen place, [B, S] whether it is another than the original).

    Places of weight 0 keep their tokens: special ones are never replaced.
    """
    positions, labels = batch["positions"], batch["labels"]
    uniform = batch["draws"] if "draws" in batch else torch.rand(labels.shape, device=labels.device)
    original = batch["input_ids"].scatter(1, positions, labels)
    ids = original.scatter(1, positions, torch.where(batch["weights"] > 0, drawn(guesses, uniform), labels))
    return ids, ids != original


def drawn(logits: Tensor, uniform: Tensor) -> Tensor:
    """Ids [B, P] distributed as softmax(logits [B, P, V]); `uniform` [B, P] in [0, 1) decides. Without gradient.

    The first id at which the summed probabilities pass the number. The argmax under Gumbel noise has the same
    distribution, and asks for V numbers instead of one. Probabilities are told apart down to 6e-8 (float32).
    """
    sums = logits.detach().float().softmax(dim=-1).cumsum(dim=-1)
    found = torch.searchsorted(sums, uniform.unsqueeze(-1) * sums[..., -1:], right=True)
    return found.squeeze(-1).clamp(max=logits.shape[-1] - 1)


def share_embedding(generator: Model, model: Model) -> None:
    """Let the generator embed with the model's own tables and norm: the same parameters, trained by both losses."""
    own, shared = generator.encoder.embedding, model.encoder.embedding
    for name in SHARED:
        setattr(own, name, getattr(shared, name))
