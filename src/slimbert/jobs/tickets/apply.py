"""A ticket applied to a model that stands on the disk: its folder in, a smaller one out."""

from pathlib import Path
from typing import NamedTuple

from ...data.tokenizer import TextTokenizer
from ...methods.units import counts
from ...model import EncoderConfig, ModelConfig, extract, save_model
from ...model.cost import cost
from ...model.folder import task_of
from ...model.model import parameter_count
from ..models import must_be_free
from ..source import open_model
from .file import fitting, read_ticket, write_ticket

LENGTH = 128  # tokens of the row for which multiply-adds are counted


class Applied(NamedTuple):
    """A model cut to a ticket. parameters, macs: of the whole model, and of its layers for a row of `length` tokens,
    (after, before); units: of every axis, (those that stay, those there were)."""

    folder: str
    ticket: str
    parameters: tuple[int, int]
    macs: tuple[int, int]
    length: int
    units: dict[str, tuple[int, int]]


def apply(model: str | Path, ticket: str | Path, *, out: str | Path) -> Applied:
    """Write `model` cut to `ticket` (a ticket.json, or a folder that holds one) with its tokenizer and the ticket.

    Raises InputError where the ticket was drawn from another architecture, or `out` is in use.
    """
    must_be_free(out)
    made = read_ticket(ticket)
    whole, folder, _ = open_model(model)
    encoder = whole.config.encoder
    small = extract(whole, fitting(made, encoder, ticket))
    task = task_of(model)
    save_model(small, out, extra={"task": task} if task else {})
    write_ticket(Path(out), made)
    if folder is not None:
        TextTokenizer.load(folder).save(out)
    length = min(LENGTH, encoder.embedding.max_len)
    sizes = (parameter_count(small), parameter_count(whole))
    macs = (_macs(small.config.encoder, length), _macs(encoder, length))
    return Applied(str(out), str(ticket), sizes, macs, length, counts(encoder, made.subnet))


def _macs(encoder: EncoderConfig, length: int) -> int:
    parts = cost(ModelConfig(encoder=encoder), length=length)
    return sum(part.macs for part in parts if part.name.startswith("layers."))
