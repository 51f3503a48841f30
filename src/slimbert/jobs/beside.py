"""What stands beside a fine-tuned score: the baselines of its kind of task, with few rows also the frozen encoder."""

from collections.abc import Mapping

from ..data.tasks import Task
from ..data.tokenizer import TextTokenizer
from ..model import Model
from .few_shot import frozen
from .static import token_table
from .tasks import Kind

Scores = dict[str, dict[str, float]]  # by the name of the baseline
Known = Mapping[str, Scores]  # by the SHA-256 of the data that they were computed on


def beside(
    kind: Kind,
    task: Task,
    encoder: Model,
    tokenizer: TextTokenizer,
    *,
    few_shot: bool,
    known: Known | None,
    device: str | None,
) -> Scores:
    """The scores of all baselines on the rows of the printed score. encoder: as it came; known: computed before."""
    if known and task.sha256 in known:
        return known[task.sha256]
    found = kind.baselines(task, table=token_table(encoder))
    if few_shot:
        found.append(frozen(encoder, tokenizer, task, max_len=kind.description.max_len, device=device))
    return {one.name: one.score for one in found}
