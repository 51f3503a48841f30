"""Search: SQuAD's questions against its 2,067 validation paragraphs, words, vectors and a re-ranker.

    SLIMBERT_DATA=DIR python benchmarks/search.py [--rows 6000] [--questions 10570] [--reranked 300] [--judged 2000]
    [--seeds 1] [--name search] [--work runs/NAME]

BM25; MiniLM-L6 as it comes; MiniLM-L6 tuned on 6,000 pairs of a training question and its paragraph (in-batch
negatives, one epoch, batches of 32, rate 5e-5); both rankings fused. They answer every validation question. BM25 with a
re-ranker answers 300 of them, BM25 alone on the same beside it: MiniLM-L6, trained as a pair model on 2,000 training
questions, each with its own paragraph and with one drawn from the first 20 of BM25's that do not hold the answer (two
epochs, batches of 16, rate 1e-4), reads the first 20 hits. The articles of train and validation differ; MiniLM-L6, as
it comes, names SQuAD's training pairs among what it was trained on. Every arm reads up to 512 tokens. Milliseconds per
query: all asked at once, and one by one. Resumes where it stopped; the runs are kept in --work. Nothing else may run.

About 55 minutes at 1,200 tokens/s: 19 to tune, 26 for the re-ranker, 5 for 300 x 20 pairs, 2 for two indexes, 3 for the
questions.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from arms import ALL_UPDATES, corpus, listed, measured, minilm, other_encoder, ours, parser, table
from records import describe, done, keep, same_machine, same_settings
from retrieval import Asked, answered, apart, judgements, pairs

from slimbert.data.tasks import Task, load_task
from slimbert.jobs.search.index import Index, Method
from slimbert.jobs.search.rerank import Reranker
from slimbert.train.environment import best_dtype

LR, MAX_LEN, DEPTH = 5e-5, 512, 20
JUDGE_LR, JUDGE_EPOCHS = 1e-4, 2
WORDS, COMES, TUNED, FUSED = "BM25", "MiniLM as it comes", "MiniLM tuned", "MiniLM tuned + BM25"
SAMPLE, AGAIN = "BM25, sample", "BM25 + re-ranker, sample"
STAGES = (WORDS, COMES, TUNED, FUSED, SAMPLE, AGAIN)


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, name="search", rows=6000, seeds=1)
    options.add_argument("--questions", type=int, default=10570, metavar="N", help="of validation (10,570)")
    options.add_argument("--reranked", type=int, default=300, metavar="N", help="of them, for the re-ranker (300)")
    options.add_argument("--judged", type=int, default=2000, metavar="N", help="that the re-ranker learns from (2,000)")
    options.add_argument("--work", type=Path, metavar="DIR", help="folder of the runs and indexes (runs/NAME)")
    chosen = options.parse_args(argv)
    encoder = chosen.encoder or minilm()
    same_machine(chosen.name)
    said = {name: getattr(chosen, name) for name in ("rows", "questions", "reranked", "judged")}
    said |= {"lr": LR, "max_len": MAX_LEN, "depth": DEPTH, "judge_lr": JUDGE_LR, "judge_epochs": JUDGE_EPOCHS}
    said |= {"precision": best_dtype("cpu")}
    same_settings(chosen.name, said | other_encoder(chosen.encoder))
    work = chosen.work or Path(__file__).parents[1] / "runs" / chosen.name
    work.mkdir(parents=True, exist_ok=True)
    task = load_task(corpus("squad"), kind="squad")
    assert task.test is not None
    asked = Asked(task.test, work, chosen.questions)
    for seed in range(chosen.seeds):
        tuned, judge = learnt(chosen, seed, encoder, task, work)
        searched(chosen, seed, asked, encoder, tuned, judge, work)
    keep(chosen.name, "summary", {"paragraphs": asked.paragraphs, "questions": len(asked.queries)})
    text = _text(chosen.name, chosen.seeds)
    describe(chosen.name, text)
    print(text)


def learnt(chosen: Namespace, seed: int, encoder: Path, task: Task, work: Path) -> tuple[Path, Path]:
    """The tuned encoder and the re-ranker of a seed."""
    settings = [f"max_len={MAX_LEN}", *ALL_UPDATES]
    tuned, judge = work / f"tuned-{seed}", work / f"judge-{seed}"

    def tune() -> dict[str, Any]:
        return ours(
            encoder,
            pairs(task, chosen.rows),
            seed=seed,
            settings=[*settings, "epochs=1", f"lr={LR}", "batch_size=32"],
            out=tuned,
        )

    def teach() -> dict[str, Any]:
        read = [*settings, f"epochs={JUDGE_EPOCHS}", f"lr={JUDGE_LR}", "batch_size=16"]
        return ours(encoder, judgements(task, chosen.judged), seed=seed, settings=read, out=judge)

    measured(chosen.name, f"tune {seed}", tune)
    measured(chosen.name, f"judge {seed}", teach)
    return tuned, judge


def searched(chosen: Namespace, seed: int, asked: Asked, encoder: Path, tuned: Path, judge: Path, work: Path) -> None:
    """Every stage of a seed into the record."""
    comes, better = asked.indexed(encoder, work / "index"), asked.indexed(tuned, work / f"index-tuned-{seed}")
    ways: dict[str, tuple[Index, Method]] = {
        WORDS: (comes, "bm25"),
        COMES: (comes, "vectors"),
        TUNED: (better, "vectors"),
        FUSED: (better, "hybrid"),
    }
    for stage, (found, method) in ways.items():
        run = partial(answered, found, asked.queries, asked.right, method=method)
        measured(chosen.name, f"{stage} {seed}", run)
    some = asked.first(chosen.reranked)
    reader = Reranker(judge, depth=DEPTH, device="cpu")
    for stage, rerank in ((SAMPLE, None), (AGAIN, reader)):
        measured(chosen.name, f"{stage} {seed}", partial(answered, comes, *some, method="bm25", rerank=rerank))


def _text(name: str, seeds: int) -> str:
    columns = ["", "questions", "MRR@10 (95% interval)", "recall@1", "recall@10", "ms/query, together", "ms, alone"]
    rows, said = [], []
    for seed in range(seeds):
        found = {stage: done(name, f"{stage} {seed}") for stage in STAGES}
        for stage, one in found.items():
            score = f"{one['mrr_10']:.3f} ({one['mrr_low']:.3f} to {one['mrr_high']:.3f})"
            recall = [f"{one[key]:.3f}" for key in ("recall_1", "recall_10")]
            times = [f"{one[key]:,.1f}" for key in ("ms_together", "ms_alone")]
            rows.append(
                [f"{stage}, seed {seed}", f"{one['queries']:,}", score, *recall, *times, f"{one['gemm_tflops']:.3f}"]
            )
        for first, second in ((TUNED, WORDS), (TUNED, COMES), (FUSED, TUNED), (AGAIN, SAMPLE)):
            said.append(f"seed {seed}: {_compared(first, second, found)}")
    said += [_learning(name, key, seed) for seed in range(seeds) for key in ("tune", "judge")]
    return f"{table([*columns, 'TFLOP/s then'], rows)}\n\n{listed(said)}"


def _compared(first: str, second: str, found: dict[str, Any]) -> str:
    """Which of two methods is above the other, and how sure that is."""
    gap = apart(found[first]["places"], found[second]["places"])
    between = f"MRR@10 {gap.difference:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}, paired)"
    if gap.low > 0:
        return f"{first} is above {second}: {between}."
    return f"{first} is **not** above {second}: {between}."


def _learning(name: str, key: str, seed: int) -> str:
    one = done(name, f"{key} {seed}")
    what = {"tune": "tuning", "judge": "training the re-ranker"}[key]
    return f"seed {seed}: {what} took {one['seconds'] / 60:.1f} minutes at {one['gemm_tflops']:.3f} TFLOP/s."


if __name__ == "__main__":
    main()
