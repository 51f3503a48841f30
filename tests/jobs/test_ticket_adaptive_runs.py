"""`slimbert finetune --ticket ... --set halting.method=dact`: one run searches, draws, and learns to stop early."""

from pathlib import Path
from typing import Any

import pytest
import torch

from jobs.small import differences, encoder_in, rows
from jobs.test_ticket_runs import HERE, ticket
from slimbert.data.tasks import load_task
from slimbert.jobs.evaluate import evaluate
from slimbert.jobs.finetune import finetune
from slimbert.jobs.predict import load
from slimbert.jobs.tickets.file import read_ticket
from slimbert.methods.units import counts
from slimbert.model import load_model
from slimbert.model.exits import DactConfig, ExitsConfig
from slimbert.train.run import RunFolder

pytestmark = pytest.mark.usefixtures("no_picture", "in_float32")
STOPS = ("halting.method=dact", "halting.tau=0.5", "halting.ramp=0.1", "lr=2e-3")
ASKED = (*STOPS, "min_updates=60", "epochs=1", "evaluations=2", "batch_size=16", "patience=99")
PATTERNS = {
    "bert": "3{sf}",
    "narrow": "1{sf}:2{sf}",
    "context first": "1{sf},1{s}:1{f}",
    "convbert": "2{mf}",
    "narrow groupbert": "1{cgsg}:1{cgsg}",
}


@pytest.mark.parametrize(("name", "start"), [*((name, "rewind") for name in PATTERNS), ("bert", "continue")])
def test_a_ticket_that_stops_early_answers_as_in_full_depth(
    name: str, start: str, data: Path, reviews: Path, tmp_path: Path
):
    encoder = encoder_in(tmp_path / "encoder", data, PATTERNS[name])
    out, early = tmp_path / "run", ticket(start)
    finetune(encoder, reviews, out=out, settings=ASKED, ticket=early, with_baselines=False, **HERE)
    before, small = load_model(encoder).config.encoder, load_model(out).config
    drawn = read_ticket(out)
    assert any(after < whole for after, whole in counts(before, drawn.subnet).values())
    assert isinstance(small.head, DactConfig)
    assert small.head.units == before.points() == small.encoder.points()
    texts = load_task(reviews).train.texts
    full = load(out, device="cpu", depth="full").predict(texts)
    told = load(out, device="cpu").predict_to_depth(texts)
    assert [one["label"] for one in told] == [one.label for one in full]
    assert all(one["guaranteed"] for one in told)
    assert min(one["depth"] for one in told) < small.head.units, "nothing stopped early: the test shows nothing"
    reached = evaluate(out, reviews, device="cpu").reached
    assert reached is not None
    assert reached.guaranteed and reached.macs_share < 1


def test_a_ticket_that_stops_early_goes_on_after_kills(
    data: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In the search and behind it: what going on costs follows from the number of the update."""
    encoder = encoder_in(tmp_path / "encoder", data, "2{sf}")
    settings = (*STOPS, "min_updates=14", "epochs=1", "evaluations=4", "batch_size=16", "patience=99")
    options: dict[str, Any] = {"settings": settings, "ticket": ticket(), "with_baselines": False, **HERE}
    finetune(encoder, reviews, out=tmp_path / "whole", **options)
    real, run = RunFolder.append, tmp_path / "run"
    for place, step in (("search", 3), ("run", 8)):

        def append(self: RunFolder, row: dict[str, Any], place: str = place, step: int = step) -> None:
            real(self, row)
            if row["step"] == step and self.path.name == place:
                raise OSError("as if killed")

        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "append", append)
            with pytest.raises(OSError, match="as if killed"):
                finetune(encoder, reviews, out=run, resume=True, **options)
    finetune(encoder, reviews, out=run, resume=True, **options)
    assert differences(run, tmp_path / "whole") == []
    assert rows(run / "search") == rows(tmp_path / "whole" / "search")


def test_exits_are_taught_over_a_ticket_of_the_first_stage(data: Path, reviews: Path, tmp_path: Path):
    """DeeBERT on a ticket: the first stage draws and trains it, the second leaves it as it is."""
    encoder = encoder_in(tmp_path / "encoder", data, "2{sf}")
    settings = ("hidden=tanh", "min_updates=8", "epochs=1", "evaluations=1", "batch_size=16")
    options: dict[str, Any] = {"with_baselines": False, **HERE}
    drawn = (*settings, "ticket.draw.by=random")
    finetune(encoder, reviews, out=tmp_path / "first", settings=drawn, ticket=ticket(), **options)
    stays = (*settings, "halting.method=entropy")
    finetune(tmp_path / "first", reviews, out=tmp_path / "second", settings=stays, **options)
    before, after = (load_model(tmp_path / name) for name in ("first", "second"))
    assert before.config.encoder.layers[0].mix[0].heads < load_model(encoder).config.encoder.layers[0].mix[0].heads
    assert isinstance(after.config.head, ExitsConfig)
    weights: Any = before.encoder.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in after.encoder.state_dict().items())
