"""The measurements of `encoders.py`, each a function `rounds -> result`: what `timing.side_by_side` found, and the
numbers that the table shows.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from encoder_arms import (
    Scale,
    Unequal,
    check_equal,
    convbert_config,
    converted,
    everywhere,
    fresh_update,
    inference,
    masked,
    masked_lm_loss,
    ours,
    their_update,
    tokens,
    update,
)
from encoder_memory import ARMS, LESS, apart
from multiply_adds import of_masked_lm, of_rows
from timing import ratio, side_by_side, with_medians
from transformers import ConvBertModel

from slimbert.bench import replaced
from slimbert.hf.peers import Shape
from slimbert.hf.peers_convbert import convbert
from slimbert.model import EncoderConfig, Model
from slimbert.model.heads import SequenceConfig

Found = dict[str, Any]
PARTS = {  # an arm of transformers' ConvBERT without one thing that its update is made of
    "without dropout": {"dropout": 0.0},
    "head on predicted rows": {"chosen": True},
    "our convolution": {"convolved": True},
}
ALL = {"dropout": 0.0, "chosen": True, "convolved": True}


def convbert_inference(rounds: int, *, scale: Scale, size: str, rows: int, length: int, precision: str) -> Found:
    """transformers' ConvBERT and ours, with the same weights and, before any time is taken, the same answers."""
    rows, length = scale.shape(rows, length)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = ConvBertModel(convbert_config(size, scale)).to(scale.device).eval()
    made, ids = converted(scale, theirs, length=length), tokens(scale, rows, length)
    with torch.inference_mode():
        difference = check_equal(scale, theirs(ids).last_hidden_state, made(ids))
    arms = {
        "transformers": inference(scale, theirs, ids, precision),
        "slimbert": inference(scale, made, ids, precision),
    }
    found = side_by_side(arms, rounds=rounds)
    return found | {"times_as_fast": ratio(found, "transformers", "slimbert"), "difference": difference}


def convbert_training(rounds: int, *, scale: Scale, size: str, rows: int) -> Found:
    """An update of transformers' ConvBERT as it is, without each of PARTS, without all of them; and ours.

    All begin with the same weights, and before any time is taken with the same loss.
    """
    batch = masked(scale, *scale.shape(rows, 128))
    config, length = convbert_config(size, scale), batch["input_ids"].shape[1]
    models = {
        name: convbert(config, **options) for name, options in ({"transformers": {}} | PARTS | {"all": ALL}).items()
    }
    made = converted(scale, convbert(config, dropout=0.0), length=length)
    wanted = masked_lm_loss(made, batch)
    for name, model in models.items():
        apart = abs(masked_lm_loss(model.to(scale.device), batch) - wanted)
        if not apart < 1e-3:
            raise Unequal(f"{name}: its loss lies {apart:.2g} from ours with the same weights")
    arms = {name: their_update(scale, model, batch) for name, model in models.items()}
    arms["slimbert"] = update(scale, made, batch, compiled=scale.compile)
    found = side_by_side(arms, rounds=rounds, warm=1)
    shares = {f"share: {name}": 1 - 1 / ratio(found, "transformers", name) for name in (*PARTS, "all")}
    return (
        found
        | shares
        | {
            "times_as_fast": ratio(found, "transformers", "slimbert"),
            "times_as_fast_without": ratio(found, "all", "slimbert"),
        }
    )


def two_inferences(
    rounds: int,
    *,
    scale: Scale,
    pair: dict[str, EncoderConfig],
    rows: int,
    length: int,
    precision: str,
    wanted: int | None = None,
) -> Found:
    """Time of the first encoder over that of the second, both ours; wanted: so many rows of a text, None: all."""
    rows, length = scale.shape(rows, length)
    ids, (first, second) = tokens(scale, rows, length), pair
    options: Found = {}
    if wanted is not None:
        options["select"] = torch.arange(wanted, device=scale.device).expand(rows, -1)
    arms = {
        name: inference(scale, ours(scale, one, length=length), ids, precision, **options) for name, one in pair.items()
    }
    found = side_by_side(arms, rounds=rounds, warm=1)
    macs = {name: of_rows(one, length=length, rows=wanted) for name, one in pair.items()}
    return found | {"time_ratio": ratio(found, first, second), "multiply_add_ratio": macs[first] / macs[second]}


def two_updates(rounds: int, *, scale: Scale, pair: dict[str, EncoderConfig], rows: int, length: int) -> Found:
    """Time of an update of the first encoder over that of the second, both ours."""
    batch, (first, second) = masked(scale, *scale.shape(rows, length)), pair
    few, length = batch["positions"].shape[1], batch["input_ids"].shape[1]
    arms = {name: fresh_update(scale, one, batch, compiled=scale.compile) for name, one in pair.items()}
    found = side_by_side(arms, rounds=rounds, warm=1)
    macs = {name: of_masked_lm(one, length=length, few=few) for name, one in pair.items()}
    return found | {"time_ratio": ratio(found, first, second), "multiply_add_ratio": macs[first] / macs[second]}


def narrow_training(rounds: int, *, scale: Scale, narrow: EncoderConfig, length: int, compiled: bool = True) -> Found:
    """Our BERT of base size with a head at every position and with the same sparse head, and its narrow form: compiled
    updates of at least 4,096 tokens."""
    length = length // scale.tokens
    batch = masked(scale, max(1, scale.step // length), length)
    few, bert = batch["positions"].shape[1], scale.encoder(f"{scale.layers}{{sf}}")
    arms = {
        "BERT, dense head": fresh_update(scale, bert, everywhere(batch), compiled=compiled),
        "BERT, sparse head": fresh_update(scale, bert, batch, compiled=compiled),
        "narrow": fresh_update(scale, narrow, batch, compiled=compiled),
    }
    found = side_by_side(arms, rounds=rounds, warm=1)
    macs = {
        "dense": of_masked_lm(bert, length=length, few=length),
        "sparse": of_masked_lm(bert, length=length, few=few),
    }
    own = of_masked_lm(narrow, length=length, few=few)
    for head in macs:
        found[f"times_as_fast_{head}"] = ratio(found, f"BERT, {head} head", "narrow")
        found[f"multiply_add_ratio_{head}"] = macs[head] / own
    return found


def narrow_inference(
    rounds: int, *, scale: Scale, narrow: EncoderConfig, rows: int, length: int, precision: str
) -> Found:
    """Sentence classification by the first row, beside our own BERT, which computes that row alone in its last layer,
    or all."""
    rows, length = scale.shape(rows, length)
    ids, bert = tokens(scale, rows, length), scale.encoder(f"{scale.layers}{{sf}}")
    first = torch.zeros(rows, 1, dtype=torch.long, device=scale.device)

    def made(encoder: EncoderConfig) -> Model:
        return ours(scale, encoder, SequenceConfig(labels=("a", "b")), length=length)

    arms = {
        "BERT, all rows": inference(scale, made(bert), ids, precision),
        "BERT": inference(scale, made(bert), ids, precision, select=first),
        "narrow": inference(scale, made(narrow), ids, precision, select=first),
    }
    found = side_by_side(arms, rounds=rounds)
    macs = {rows: of_rows(bert, length=length, rows=rows) for rows in (1, None)}
    own = of_rows(narrow, length=length, rows=1)
    return found | {
        "times_as_fast": ratio(found, "BERT", "narrow"),
        "times_as_fast_as_all_rows": ratio(found, "BERT, all rows", "narrow"),
        "multiply_add_ratio": macs[1] / own,
        "multiply_add_ratio_all_rows": macs[None] / own,
    }


def memory(_: int, *, scale: Scale, rows: int, length: int) -> Found:
    """Peak memory of an update above weights and moments, MB; one width of token table for all."""
    rows, length = scale.shape(rows, length)
    found = {arm: apart(arm, rows, length, scale) for arm in ARMS}
    return {
        "megabytes": found,
        "of_transformers": found["ConvBERT"] / found["transformers"],
        "of_bert": found["ConvBERT"] / found["BERT"],
        **{f"of: {arm}": found["ConvBERT"] / found[arm] for arm in LESS},
    }


def replaced_tokens(rounds: int, *, scale: Scale, rows: int, compiled: bool) -> Found:
    """tokens/s of detecting replaced tokens: see `slimbert/bench/replaced.py`."""
    shape = Shape(layers=scale.layers, dim=scale.small, heads=scale.small // scale.head_dim, vocab=scale.vocab)
    rows = scale.shape(rows, 128)[0]
    turns: Iterator[dict[str, float]] = replaced.rounds(
        batch_size=rows, shape=shape, compiled=compiled, device=scale.device
    )
    seen = list(islice(turns, rounds))
    found = with_medians({arm: [one[arm] for one in seen] for arm in replaced.ARMS})
    return found | {
        "tokens_per_second": replaced.summary(seen, batch_size=rows)["tokens_per_second"],
        "narrow_over_wide": ratio(found, "wide_generator", "narrow_generator"),
        "narrow_over_masked_lm": ratio(found, "masked_lm", "narrow_generator"),
        "narrow_over_theirs": ratio(found, "transformers", "narrow_generator"),
        "narrow_over_tuned": ratio(found, "transformers_tuned", "narrow_generator"),
        "wide_over_masked_lm": ratio(found, "masked_lm", "wide_generator"),
    }
