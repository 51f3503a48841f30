"""A budget of multiply-adds is counted as the run computes: for the rows that it asks for."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.small import encoder_in, recipe, replaced
from jobs.test_ticket_runs import HERE, QUICK, begun, ticket
from jobs.test_token_tasks import sentences, write
from slimbert.jobs.tickets import finetuning as of_finetuning
from slimbert.jobs.tickets.file import read_ticket
from slimbert.jobs.tickets.find import find
from slimbert.methods.units import costs
from slimbert.model import load_model
from slimbert.model.encoder import EncoderConfig
from slimbert.subnet import Subnet, shrink

BUDGET = ("ticket.draw.by=random", "ticket.draw.budget=0.6")


def share(encoder: EncoderConfig, subnet: Subnet, *, length: int, keep: int | None) -> float:
    """What stays of the layers' multiply-adds."""
    small, whole = (costs(one, length=length, keep=keep).layers for one in (shrink(encoder, subnet), encoder))
    return small / whole


@pytest.mark.parametrize(
    ("pattern", "settings", "keep"),
    [
        ("1{sf}:2{sf}", (), 1),
        ("1{sf}:2{sf}", ("halting.method=dact",), 1),
        ("3{sf}", ("pool=cls",), 1),
        ("3{sf}", (), None),
        ("1{sf}:2{sf}", ("ticket.draw.keep=9",), 9),
    ],
)
def test_ticket_budget_counts_the_rows_that_are_answered_for(
    pattern: str, settings: tuple[str, ...], keep: int | None, data: Path, reviews: Path, tmp_path: Path
):
    encoder = encoder_in(tmp_path / "encoder", data, pattern)
    asked = (*QUICK, *BUDGET, *settings)
    made = find(encoder, reviews, out=tmp_path / "found", ticket=ticket(), settings=asked, **HERE)
    drawn = read_ticket(made.ticket)
    assert drawn.recipe["draw"]["keep"] == keep
    left = share(load_model(encoder).config.encoder, drawn.subnet, length=64, keep=keep)
    assert 0.55 < left <= 0.6  # what no head fits into, neurons fill


@pytest.mark.parametrize("halting", [(), ("halting.method=dact",)], ids=["plain", "dact"])
def test_ticket_budget_of_tags_counts_all_rows(halting: tuple[str, ...], data: Path, tmp_path: Path):
    """A head that tags and halts reads the first row, too, but not alone."""
    tokens, tags = sentences(40)
    rows = write(tmp_path / "a.parquet", tokens=tokens, ner_tags=tags)
    run = begun(encoder_in(tmp_path / "encoder", data, "1{sf}:1{sf}"), rows, tmp_path / "run", *halting)
    assert of_finetuning.dense(run).wanted(64) is None


@pytest.mark.parametrize(
    ("layers", "objective", "keep"),
    [("1{sf}:1{sf}", None, 6), ("2{sf}", None, 5), ("1{sf}:1{sf}", replaced(), None)],
    ids=["narrow", "wide", "replaced tokens"],
)
def test_ticket_budget_of_pretraining_counts_the_rows_that_are_predicted(
    layers: str, objective: Any, keep: int | None, data: Path, tmp_path: Path
):
    """5 of 32 tokens, beside the first where the encoder narrows; to detect replaced tokens all are asked for."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(layers=layers, steps=12, objective=objective)))
    made = find(tmp_path / "recipe.yaml", data, out=tmp_path / "found", ticket=ticket(), settings=BUDGET, **HERE)
    drawn = read_ticket(made.ticket)
    assert drawn.recipe["draw"]["keep"] == keep
