"""The main job on text that every installation has: from nothing to a compared classifier in a few minutes.

Docstrings of the installed packages -> tokenizer -> rows -> a small encoder, pretrained for a fixed time -> fine-tuned
on a few hundred labels, beside the same encoder untrained, MiniLM-L6 and two baselines. Each step calls the function
that the command of the same name calls, so the demo shows nothing that one cannot do with one's own text.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...data.builtin import library_task
from ...data.docstrings import collect
from ...data.tasks import Task
from ...data.tokenizer import TextTokenizer
from ...errors import Interrupted
from ...model import fresh, save_model
from ...model.folder import load_config
from ...train.progress import Progress
from ...train.run import RunFolder
from ..corpus import prepare, train_tokenizer
from ..models import convert
from ..predict import load
from ..pretrain import Pretrained, pretrain
from .contest import Contender, Entrant, contest, deal, verdict
from .folder import clear, packaged_minilm, write_corpus, write_task
from .plan import Size, recipe, settings
from .report import words, write_report
from .result import Demo, Sentence

MASKED = (
    "If [MASK], return a copy.",
    "A [MASK] of strings.",
    "See the documentation for more [MASK].",
)
QUESTIONS = (
    "Draw a legend next to the axes and set the color of its frame.",
    "Find a shortest path between two nodes of a weighted graph.",
    "Expand the polynomial and collect the powers of each symbol.",
)


def demo(
    out: str | Path = "runs/demo",
    *,
    seed: int = 0,
    device: str | None = None,
    seconds: float = 90.0,
    quiet: bool = False,
    size: Size = Size(),
) -> Demo:
    """Run the whole demo and write everything into `out`, where only a former demo is replaced.

    seconds: wall-clock of pretraining. Raises InputError where the demo extra is not installed or `out` holds something
    else, Interrupted after a signal.
    """
    minilm = packaged_minilm()
    folder = Path(out)
    clear(folder, seed)
    run = _Run(folder, seed, device, quiet, size)
    try:
        return run.go(minilm, seconds)
    except Interrupted as stop:
        raise Interrupted(f"the demo was stopped; it starts anew each time ({str(stop).partition(';')[0]})") from stop


class _Run:
    """One demo: each method is one phase, and what it says to a newcomer."""

    def __init__(self, folder: Path, seed: int, device: str | None, quiet: bool, size: Size) -> None:
        self.folder, self.seed, self.device, self.quiet, self.size = folder, seed, device, quiet, size
        self.phases: dict[str, float] = {}
        self.began = time.perf_counter()

    def go(self, minilm: Path, seconds: float) -> Demo:
        corpus, task = self._collect()
        self._tokenizer()
        self._rows()
        trained, first = self._pretrain(seconds)
        filled = self._fill()
        found = self._contest(task, minilm)
        winner = max((one for one in found if one.run), key=lambda one: one.accuracy)
        answers = tuple(load(winner.run or "", device=self.device).predict(QUESTIONS))
        made = Demo(
            str(self.folder),
            time.perf_counter() - self.began,
            self.phases,
            (*task.notes, f"corpus: {corpus:,} characters"),
            trained,
            first,
            filled,
            tuple(found),
            tuple(verdict(found)),
            answers,
            self._files(winner),
            self._next(winner),
        )
        write_report(made, self.folder)
        return made

    def _collect(self) -> tuple[int, Task]:
        with self._phase("collect", "Reading the docstrings of the Python packages installed here"):
            with Progress(None, unit="MB read", enabled=not self.quiet) as progress:
                found = collect(progress=lambda done, total: progress.update(done // 10**6, of=f"{total // 10**6} MB"))
            size = self.size
            wanted = size.labelled * size.seeds
            made = library_task(found, train=wanted, validation=size.validation, test=size.test, seed=self.seed)
            write_corpus(made.corpus, self.folder / "corpus.jsonl", seed=self.seed)
            write_task(deal(made.task, size.seeds)[0], self._at("labelled"))
            characters = sum(map(len, made.corpus))
            self._say(f"{len(found):,} docstrings, {characters / 1e6:.0f} MB of text to learn from")
            self._say(f"the task: which of {len(made.task.labels)} libraries is a docstring from? Names are masked;")
            self._say(f"{size.labelled} labelled examples for each of {size.seeds} seeds, {size.test:,} others as test")
        return characters, made.task

    def _tokenizer(self) -> None:
        with self._phase("tokenizer", f"Learning a vocabulary of {self.size.vocab:,} word pieces from that text"):
            corpus = [self.folder / "corpus.jsonl"]
            made = train_tokenizer(corpus, out=self._at("tokenizer"), vocab_size=self.size.vocab, quiet=self.quiet)
            pieces = [
                piece.removeprefix("##")
                for piece in TextTokenizer.load(made.tokenizer).inner.encode("pretraining encoders").tokens[1:-1]
            ]
            self._say(f"for example: pretraining encoders = {' + '.join(pieces)}")

    def _rows(self) -> None:
        with self._phase("prepare", f"Cutting the text into rows of {self.size.seq_len} pieces"):
            corpus, tokenizer = [self.folder / "corpus.jsonl"], self._at("tokenizer")
            made = prepare(
                corpus,
                tokenizer,
                out=self._at("data"),
                seq_len=self.size.seq_len,
                validation=0.01,
                seed=self.seed,
                quiet=self.quiet,
            )
            self._say(f"{made.rows:,} rows to learn from, {made.validation_rows:,} held out")

    def _pretrain(self, seconds: float) -> tuple[Pretrained, float]:
        size = self.size
        title = f"Pretraining a small encoder for {seconds:.0f} s: it learns to guess hidden words"
        with self._phase("pretrain", title):
            made = pretrain(
                recipe(size),
                data=self._at("data"),
                out=self._at("pretrained"),
                budget=f"{seconds}s",
                seed=self.seed,
                device=self.device,
                quiet=self.quiet,
            )
            first = float(next(RunFolder(self._at("pretrained")).rows())["loss"])
            last = made.val_loss or made.loss
            self._say(f"loss {first:.2f} -> {last:.2f} on held-out text; blind guessing: {math.log(size.vocab):.2f}")
            self._say(
                f"{made.tokens:,} pieces seen in {made.steps:,} updates, {made.tokens / made.seconds:,.0f} a second"
            )
        return made, first

    def _fill(self) -> tuple[Sentence, ...]:
        with self._phase("fill", "Asking it for hidden words"):
            predictor = load(self._at("pretrained"), device=self.device)
            found = tuple(Sentence(text, tuple(predictor.fill(text, top=3)[0])) for text in MASKED)
            for sentence in found:
                self._say(sentence.text)
                self._say(f"  {words(sentence.words)}")
        return found

    def _contest(self, task: Task, minilm: Path) -> list[Contender]:
        size = self.size
        title = f"Fine-tuning on {size.labelled} labelled docstrings, {size.seeds} times"
        with self._phase("finetune", title):
            convert(minilm, out=self._at("minilm"))
            self._untrained()
            small = settings(size, size.updates, size.lr_small, 0.4)
            large = settings(size, size.updates_minilm, size.lr_minilm, 0.1)
            entrants = [
                Entrant("small encoder, untrained", self._at("untrained"), small),
                Entrant("small encoder, pretrained", self._at("pretrained"), small),
                Entrant("MiniLM-L6, published weights", self._at("minilm"), large),
            ]
            hands = deal(task, size.seeds)
            at = self._at("finetuned")
            return contest(entrants, hands, at, seed=self.seed, device=self.device, quiet=self.quiet, tell=self._say)

    def _untrained(self) -> None:
        """The pretrained encoder's config with fresh weights, as a model folder."""
        config = load_config(self._at("pretrained"))
        save_model(fresh(config, self.seed), self._at("untrained"))
        TextTokenizer.load(self._at("tokenizer")).save(self._at("untrained"))

    def _files(self, winner: Contender) -> dict[str, str]:
        names = {
            "report": "report.md",
            "numbers": "report.json",
            "picture": "demo.png",
            "text": "corpus.jsonl",
            "tokenizer": "tokenizer",
            "rows of tokens": "data",
            "labelled data": "labelled",
            "pretrained encoder": "pretrained",
            "untrained encoder": "untrained",
            "MiniLM-L6": "minilm",
            "fine-tuned models": "finetuned",
        }
        return {what: str(self.folder / name) for what, name in names.items()} | {"best classifier": str(winner.run)}

    def _next(self, winner: Contender) -> tuple[str, ...]:
        encoder = self._at(Path(winner.run or "").name)
        return (
            f"slimbert finetune {encoder} reviews.csv --out runs/b",
            f'slimbert predict {winner.run} "{QUESTIONS[1]}"',
        )

    def _at(self, name: str) -> Path:
        return self.folder / name

    @contextmanager
    def _phase(self, name: str, title: str) -> Iterator[None]:
        began = time.perf_counter()
        self._say(f"\n{len(self.phases) + 1}/6  {title}", indent="")
        yield
        self.phases[name] = time.perf_counter() - began

    def _say(self, text: str, indent: str = "     ") -> None:
        Progress(None, enabled=not self.quiet).note(f"{indent}{text}")
