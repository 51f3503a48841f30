"""The end of a fine-tuning run: its best checkpoint is scored, baselines stand beside it, the folder is made whole."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..model.transform import put_tokens_back
from ..train import checkpoints
from ..train.loop import Step, restore
from ..train.signals import Stop
from .beside import Scores, beside
from .finetuned import Finetuned, write_model, write_result
from .report import report
from .tasks.kind import Outputs

if TYPE_CHECKING:
    from .finetune import Run


def finish(run: "Run", step: Step, stop: Stop, *, encoder: str, with_baselines: bool) -> Finetuned:
    """Score the best checkpoint on validation and test, and write model, result and report into the run folder.

    encoder: what the run began from. Raises Interrupted after a signal.
    """
    found = checkpoints.best(run.folder.checkpoints)
    if found is not None:
        restore(run.objective, run.optimizer, found.tensors)
    outputs = {name: run.outputs(name)[0] for name in ("validation", "test") if name in run.rows.features}
    run.kind = run.settled(outputs["validation"])
    stop.heed(step.n)
    whole = put_tokens_back(run.objective.model, run.whole, run.rows.used)
    splits = run.rows.splits
    write_model(run.folder, whole, run.tokenizer, description=run.kind.description, train=splits["train"])
    others = _beside(run) if with_baselines else {}  # behind the model: they may take long, and memory
    stop.heed(step.n)
    result = _result(run, step, outputs, others)
    write_result(run.folder, result, whole.config, splits=splits, encoder=encoder)
    part = "test" if "test" in outputs else "validation"
    scores = {"fine-tuned encoder": getattr(result, part)} | result.baselines
    rows, features = splits[part], run.rows.features[part]
    run.folder.write_text("report.md", report(run.kind, rows, features, outputs[part], scores, part=part))
    return result


def _result(run: "Run", step: Step, outputs: Mapping[str, Outputs], others: Scores) -> Finetuned:
    scores = {
        name: run.kind.score(run.rows.splits[name], run.rows.features[name], one) for name, one in outputs.items()
    }
    return Finetuned(
        str(run.folder.path),
        run.task.kind,
        run.task.metric,
        len(run.kind.description.text_columns),
        run.task.labels,
        step.n,
        step.seconds,
        scores["validation"],
        scores.get("test"),
        others,
        run.cut_share,
        run.notes,
    )


def _beside(run: "Run") -> Scores:
    options: Any = {"few_shot": run.few_shot, "known": run.known, "device": run.device}
    return beside(run.kind, run.task, run.encoder, run.tokenizer, **options)
